"""What is said to the person at the terminal."""

from pathlib import Path


class UserError(Exception):
    """Something the user can mend: one line saying what was wrong and what to do."""


class DataError(UserError):
    """The images cannot be had: nothing can be trained, whatever the settings."""


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def shown(path: Path) -> Path:
    """The path as a person would type it from here."""
    here, absolute = Path.cwd(), path.resolve()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path
