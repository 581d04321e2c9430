"""What is said to the person at the terminal."""

import re
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


def format_error(error: BaseException) -> str | None:  # noqa: PLR0911 (one for each kind)
    """One line for errors that the user can mend; None for all others."""
    # Here, not above: errors are described in programs without Hydra, too.
    from hydra.errors import HydraException, InstantiationException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return format_error(error.__cause__) or one_line(error.__cause__)
    # Lightning's class is not imported: that would take seconds.
    if isinstance(error, UserError) or type(error).__name__ == "MisconfigurationException":
        return one_line(error)
    if unknown := re.match(r"Could not override '([^']+)'", str(error)):
        return f"there is no setting {unknown[1]}; python train.py --help lists all"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read as key=value; a value with special characters needs "
            """quotes for Hydra within quotes for the shell, as in 'data.root="~/mnist"'"""
        )
    if several := re.match(r"Ambiguous value for argument '(.+)'", str(error)):
        return f"{several[1]} is more than one value; add -m to run one job with each"
    if "Config group override must be" in str(error):
        return "a group takes the name of an option, as in optim=adamw; --help lists all"
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
        return one_line(error).split("Config search path")[0].strip() + cause
    if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool"):  # joblib's
        return "the process of a job was killed, perhaps for want of memory, and with it the others"
    if type(error).__module__.startswith("submitit."):
        lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
        return f"Slurm: {': '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))}"[:500]
    if type(error).__name__ == "StorageInternalError":  # Optuna's
        return f"the database of the search: {str(error.__cause__ or error).splitlines()[0]}"
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return f"out of memory; choose a smaller data.batch_size: {one_line(error)[:200]}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return None
