"""The end of the program: one line for an error that the user can fix, and the exit status."""

import logging
import os
import select
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from omegaconf.errors import OmegaConfBaseException

from tiny_mnist.config.loading import load_config
from tiny_mnist.config.trust import needs_trust
from tiny_mnist.errors import UserError, display_path, format_error, program_name
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps.job import resume_override
from tiny_mnist.system.processes import is_rank_zero
from tiny_mnist.system.signals import Interrupted

TRACEBACK = "TINY_MNIST_TRACEBACK"
"""Environment variable with the user's own value of HYDRA_FULL_ERROR."""


@contextmanager
def stopping() -> Iterator[None]:
    """End the program where Hydra would only warn of an error."""
    try:
        yield
    except Exception as error:
        stop(error)


@contextmanager
def explaining_interrupts(folder: Path | None = None) -> Iterator[None]:
    """End an interrupted program with its exit status and the command that resumes the run.

    Args:
        folder: the run folder; None for a sweep, which names the command itself.
    """
    try:
        yield
    except Interrupted as interrupted:
        if is_rank_zero():
            hint = resuming_hint(folder) if folder else ""
            print(f"interrupted by {interrupted}{hint}", file=sys.stderr)
        sys.exit(interrupted.status)


def resuming_hint(folder: Path) -> str:
    """The end of a message about a run that ended early."""
    saved = RunFolder(folder).configuration
    if not saved.exists():
        return ""
    try:
        trust = ["trust=true"] if needs_trust(load_config(saved)) else []
    except (OSError, UserError):  # the file is damaged
        return ""
    command = [*program_name().split(), resume_override(display_path(folder)), *trust]
    return f"; go on with: {shlex.join(command)}"


def stop(error: Exception, folder: Path | None = None, message: str | None = None) -> NoReturn:
    """End the program with one line if the user can fix the error, else with a traceback.

    Args:
        error: the exception that ended the program.
        folder: the folder of the run that it ended, if there is one to resume.
        message: a line that replaces the usual description of the error.
    """
    if folder:  # INFO is below the level shown on the terminal
        with suppress(OSError):  # the log is opened late, and the disk may be full or read-only
            logging.getLogger(__name__).info("the run ended early", exc_info=error)
    message = message or format_error(raised_by_resolver(error))
    if message is None or os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error)
        sys.exit(1)
    hint = resuming_hint(folder) if folder and isinstance(error, OSError) else ""
    sys.exit(f"error: {message}{hint}")


def raised_by_resolver(error: BaseException) -> BaseException:
    """What a resolver of this program has raised, which OmegaConf wraps; else the error itself."""
    cause: BaseException | None = error
    while isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__ or cause.__context__
    return cause if isinstance(cause, UserError) else error


def handle_broken_pipe() -> None:
    """Interrupt the program when the reader of its standard output has gone, as `| head -1` does.

    Rich would end it with status 1 and no message.
    """
    try:
        # A duplicate: Rich, in the thread that has written, redirects descriptor 1 to /dev/null.
        output = os.dup(1)
    except OSError:  # the program was started without an output
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if is_closed_pipe(output):  # and not a socket of some library
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (nothing more can be printed)
            raise Interrupted(number)

    signal.signal(signal.SIGPIPE, interrupt)


def is_closed_pipe(descriptor: int) -> bool:
    """Whether a file descriptor is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(descriptor, select.POLLERR)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def ignore_disk_errors_in_thread(failed: threading.ExceptHookArgs) -> None:
    """Leave it to the main thread to report a full disk: TensorBoard's threads hand errors on."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)
