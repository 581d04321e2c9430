"""Standard streams and consoles of a program that may be piped."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def use_lenient_streams() -> None:
    """Print characters that the standard streams cannot encode as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # None where the stream is closed
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def make_console(min_width: int = 120, shared: bool = False) -> "Console":
    """A Rich console for the standard output that does not colour numbers.

    Args:
        min_width: columns that it has at least where it is no terminal.
        shared: return Rich's global console. Lightning's progress bar draws on it, and only what is
            printed there stays above the bar.
    """
    from rich import get_console, reconfigure
    from rich.console import Console

    if shared:
        reconfigure(highlight=False)
    console = get_console() if shared else Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, min_width)
    return console
