"""The seam between Hydra and training: checks before a folder is made, errors of one line."""

import os
import secrets
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tiny_mnist.errors import UserError

# Keeps jobs apart that start in the same second.
OmegaConf.register_new_resolver("unique", lambda: secrets.token_hex(3), use_cache=True)


def is_first_process() -> bool:
    """False in the processes that Lightning starts, from this script, beside the first."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


class Guard(Callback):
    """Refuses a run before Hydra creates its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the configuration and the folder."""
        from tiny_mnist.config import plain, validate

        try:
            validate(plain(config))
            folder = Path(config.hydra.run.dir)
            if is_first_process() and (folder / "metrics.csv").exists():
                raise UserError(f"{folder} already holds a run; choose another hydra.run.dir")
        except Exception as error:
            # Hydra turns a callback's exceptions into warnings; this one must stop the run.
            stop(error)


def run(main: Callable[[], None]) -> None:
    """Run a Hydra main; a user's mistake ends it with one line and exit status 1.

    `HYDRA_FULL_ERROR=1` gives the traceback instead, as everywhere in Hydra.
    """
    # Hydra would print the error itself; told to give all of it, it raises it for us to explain.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except Exception as error:
        stop(error)


def run_job(train: Callable[[DictConfig, Path], float], config: DictConfig) -> float:
    """Run one job in its folder; in a sweep, errors are left to Hydra, which goes on."""
    hydra = HydraConfig.get()
    try:
        return train(config, Path(hydra.runtime.output_dir))
    except Exception as error:
        if hydra.mode == RunMode.MULTIRUN:
            raise
        stop(error)


TRACEBACK_WANTED = os.environ.get("HYDRA_FULL_ERROR") == "1"


def stop(error: Exception) -> NoReturn:
    """End the program with one line if that is enough, else with a traceback."""
    message = explain(error)
    if message is None or TRACEBACK_WANTED:
        traceback.print_exception(error)
        sys.exit(1)
    sys.exit(f"error: {message}")


def explain(error: BaseException) -> str | None:
    """One line for errors that the user can mend; None for all others."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return explain(error.__cause__) or one_line(error.__cause__)
    # Lightning's class is not imported: that would take seconds.
    if isinstance(error, UserError) or type(error).__name__ == "MisconfigurationException":
        return one_line(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
        return one_line(error).split("Config search path")[0].strip() + cause
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return None


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
