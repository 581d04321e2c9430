"""The seam between Hydra and training: checks before a folder is made, errors of one line.

A run is resumed without Hydra, from the configuration that it saved.
"""

import logging
import os
import secrets
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.errors import UserError, display_path, format_error
from tiny_mnist.sweeps import job as sweep
from tiny_mnist.system.memory import tune_malloc
from tiny_mnist.system.processes import is_rank_zero
from tiny_mnist.system.threads import configure_openmp

TRACEBACK = "TINY_MNIST_TRACEBACK"

# Keeps jobs apart that start in the same second.
OmegaConf.register_new_resolver("unique", lambda: secrets.token_hex(3), use_cache=True)
OmegaConf.register_new_resolver("job_folder", sweep.job_folder)
OmegaConf.register_new_resolver("output_subdir", sweep.output_subdir)


new_folders: set[Path] = set()
"""The run folders that this process makes, and may remove if nothing comes of them."""


class PreflightCallback(Callback):
    """Refuses a run before Hydra creates its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the configuration and the folder."""
        # Hydra turns a callback's exceptions into warnings; these must stop the run.
        with stopping():
            check(config)
            from tiny_mnist.runs.folder import RunFolder

            run = RunFolder(config.hydra.run.dir)
            if not is_rank_zero():
                return
            if run.is_locked:
                raise UserError(f"another process is training in {run.path}")
            if run.has_results:
                raise UserError(
                    f"{run.path} already holds a run; choose another hydra.run.dir, or go on with "
                    f"{shlex.quote(f'resume={run.path}')}"
                )
            if any(run.path.glob("*/.hydra")) or run.path.resolve() == Path.cwd():
                raise UserError(
                    f"hydra.run.dir={config.hydra.run.dir} holds more than one run would leave; "
                    "name a folder of its own"
                )
            if not run.path.exists():
                new_folders.add(run.path.resolve())

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note in the folder of the sweep what is to be done there."""
        with stopping():
            if sweep.current:
                parallel = not config.hydra.launcher["_target_"].endswith("BasicLauncher")
                shared = config.trainer.strategy == "ddp"
                sweep.current.begin(Path(config.hydra.sweep.dir), parallel, shared)


def check(config: DictConfig) -> None:
    """See that a run could begin with this configuration.

    Raises:
        UserError: a setting that is wrong by itself or with others.
    """
    from tiny_mnist.config.loading import resolve_config
    from tiny_mnist.config.schema import validate

    settings = resolve_config(config)
    validate(settings)
    # Only now, for it loads torch: a mistyped number is answered at once.
    from tiny_mnist.training.train import check_optim

    check_optim(OmegaConf.create(settings))


@contextmanager
def stopping() -> Iterator[None]:
    """End the program where an error would only be logged."""
    try:
        yield
    except Exception as error:
        stop(error)


def run(main: Callable[[], None]) -> None:
    """Run a Hydra main, or resume a run; a user's mistake ends it with one line and status 1.

    `HYDRA_FULL_ERROR=1` gives the traceback instead, as everywhere in Hydra.
    """
    configure_openmp()
    tune_malloc()
    # What the user said; Lightning's processes inherit it.
    os.environ.setdefault(TRACEBACK, os.environ.get("HYDRA_FULL_ERROR", "0"))
    # Hydra would print the error itself; told to give all of it, it raises it for us to explain.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # What a full disk does to the log and to TensorBoard's threads ends the run in other places.
    logging.raiseExceptions = False
    threading.excepthook = explain_in_thread
    try:
        if any(argument.startswith("resume=") for argument in sys.argv[1:]):
            resume_job(sys.argv[1:])
        elif any(argument.startswith("search=") for argument in sys.argv[1:]):
            from tiny_mnist.sweeps.search import search

            with interruption_explained(None):
                search(sys.argv[1:])
        elif sweep.is_sweep(sys.argv[1:]):
            run_sweep(main)
        else:
            if not is_rank_zero():
                sys.argv[1:] = beside_the_first(sys.argv[1:])
            main()
    except KeyboardInterrupt:  # before there is anything to save
        sys.exit(130)
    except Exception as error:
        stop(error)


def beside_the_first(arguments: list[str]) -> list[str]:
    """The command line of a process that shares a run and leaves all files to the first."""
    folder = [] if any(a.startswith("hydra.run.dir=") for a in arguments) else ["hydra.run.dir=."]
    return [
        *arguments,
        *folder,
        "hydra.output_subdir=null",
        "hydra.job_logging.root.handlers=[console]",
        "~hydra.job_logging.handlers.file",
    ]


def run_sweep(main: Callable[[], None]) -> None:
    """Run a Hydra main for many jobs; whatever ends it, a table of those that are finished."""
    sys.argv[1:] = sweep.prepare(sys.argv[1:])
    assert sweep.current is not None
    try:
        main()
    finally:
        sweep.current.conclude()
    sys.exit(1 if sweep.current.failures else 0)


def run_job(train: Callable[..., float], config: DictConfig) -> float:
    """Run one job in its folder; in a sweep, an error is noted there, and the next job comes."""
    from tiny_mnist.runs.folder import RunFolder

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        tune_malloc()  # in a process that a launcher may have started
        # Jobs side by side share a terminal: there, the sweep shows how they come on.
        aside = "joblib" in hydra.launcher["_target_"]
        with quiet() if aside else nullcontext(), interruption_explained(None):
            return sweep.run_job(train, config, folder)
    with interruption_explained(folder):
        try:
            return train(config, folder)
        except Exception as error:
            # A full disk can be mended, and the run is as good as it was; a wrong setting, or a
            # device that is not there, has left nothing to go on with.
            if folder in new_folders and format_error(error) and not isinstance(error, OSError):
                RunFolder(folder).remove_untrained()
            stop(error, folder)


def resume_job(arguments: list[str]) -> None:
    """Go on with a run, without Hydra."""
    from tiny_mnist.resume import prepare, write_log

    if (prepared := prepare(arguments)) is None:
        return
    config, folder = prepared
    if is_rank_zero():
        write_log(folder / "train.log")

    from tiny_mnist.training.train import train

    with interruption_explained(folder):
        try:
            train(config, folder, resume=True)
        except Exception as error:
            stop(error, folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing on the standard output; the log file has it."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def interruption_explained(folder: Path | None) -> Iterator[None]:
    """End an interrupted program with the command that resumes the run, if it is one alone."""
    from tiny_mnist.system.signals import Interrupted

    try:
        yield
    except Interrupted as interrupted:
        if is_rank_zero():
            hint = how_to_go_on(folder) if folder else ""
            print(f"interrupted by {interrupted}{hint}", file=sys.stderr)
        sys.exit(interrupted.status)


def how_to_go_on(folder: Path) -> str:
    """The end of a message about a run that came to an early end."""
    if not (folder / ".hydra" / "config.yaml").exists():
        return ""
    return f"; go on with: python train.py {shlex.quote(f'resume={display_path(folder)}')}"


def stop(error: Exception, folder: Path | None = None) -> NoReturn:
    """End the program with one line if that is enough, else with a traceback.

    Args:
        error: what ended it.
        folder: of the run that it ended, if there is one to go on with.
    """
    if folder:  # whose log is open by now: below the level that the terminal shows
        logging.getLogger(__name__).info("the run ended early", exc_info=error)
    message = format_error(error)
    if message is None or os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error)
        sys.exit(1)
    hint = how_to_go_on(folder) if folder and isinstance(error, OSError) else ""
    sys.exit(f"error: {message}{hint}")


def explain_in_thread(failed: threading.ExceptHookArgs) -> None:
    """Leave it to the main thread to tell of a full disk: TensorBoard's hands its errors on."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)
