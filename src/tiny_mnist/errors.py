"""User errors, and how exceptions and names are shown."""

import re
import sys
from pathlib import Path


class UserError(Exception):
    """A user-fixable error. The message is one line that names the cause and the fix."""


class DataError(UserError):
    """An error that stops every run on the same images: they are absent, damaged or unreadable."""


def program_name() -> str:
    """The training program as it was started, for commands that are shown to the user."""
    name = Path(sys.argv[0]).name
    return name if name == "tiny-mnist-train" else "python train.py"


def printable(text: object) -> str:
    """The text with control characters, and bytes that are not UTF-8, as backslash escapes.

    Names of files and values of a stranger's configuration pass through here before they are
    printed: escape sequences in them could otherwise change the terminal.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks and control characters."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def display_path(path: Path) -> Path:
    """The path relative to the working directory if it is below, else as it was given."""
    here, absolute = Path.cwd(), path.resolve()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path


def format_error(error: BaseException) -> str | None:  # noqa: PLR0911, PLR0912 (kinds)
    """One line for an exception that the user can fix; None for all others, which are defects."""
    # Imported here, because commands that do not use Hydra format errors, too.
    from hydra.errors import HydraException, InstantiationException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return format_error(error.__cause__) or one_line(error.__cause__)
    # Compared by name, because importing Lightning takes seconds.
    if isinstance(error, UserError) or type(error).__name__ == "MisconfigurationException":
        return one_line(error)
    if unknown := re.match(r"Could not override '([^']+)'", str(error)):
        return f"there is no setting {unknown[1]}; {program_name()} --help lists all"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read as key=value; a value with special characters needs "
            """quotes for Hydra within quotes for the shell, as in 'data.root="~/mnist"'"""
        )
    if type(error).__module__.startswith("yaml."):
        return f"a configuration file is not valid YAML: {one_line(error)[:300]}"
    if several := re.match(r"Ambiguous value for argument '(.+)'", str(error)):
        return f"{several[1]} is more than one value; add -m to run one job with each"
    if "Config group override must be" in str(error):
        return "a group takes the name of an option, as in optim=adamw; --help lists all"
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
        return one_line(error).split("Config search path")[0].strip() + cause
    if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool"):  # joblib's
        return "the process of a job was killed, perhaps for lack of memory; the others ended"
    if type(error).__module__.startswith("submitit."):
        lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
        return f"Slurm: {': '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))}"[:500]
    if (package := type(error).__module__.partition(".")[0]) in ("wandb", "mlflow"):
        return f"{package}: {one_line(error)[:300]}"
    if type(error).__name__ == "StorageInternalError":  # Optuna's
        return f"the database of the search: {one_line(error.__cause__ or error)[:200]}"
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return f"out of memory; choose a smaller data.batch_size: {one_line(error)[:200]}"
    if isinstance(error, OSError) and error.strerror:
        where = printable(error.filename) if error.filename else ""
        return f"{error.strerror}: {where}" if where else error.strerror
    return None
