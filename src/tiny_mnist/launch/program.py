"""The training program: which job is run where, and how the program ends."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tiny_mnist.config.loading import run_settings
from tiny_mnist.config.trust import read_trust_flag
from tiny_mnist.errors import UserError, display_path, format_error
from tiny_mnist.launch import resolvers  # noqa: F401 (registers what configs/train.yaml names)
from tiny_mnist.launch.resume import describe_prolonging, describe_result, load_resume_config
from tiny_mnist.launch.stop import (
    TRACEBACK,
    explaining_interrupts,
    handle_broken_pipe,
    ignore_disk_errors_in_thread,
    stop,
)
from tiny_mnist.launch.suggestions import suggest
from tiny_mnist.runs.folder import LATEST, RunFolder
from tiny_mnist.sweeps import job
from tiny_mnist.sweeps.plan import MULTIRUN, is_sequential
from tiny_mnist.system.memory import tune_malloc
from tiny_mnist.system.processes import is_rank_zero
from tiny_mnist.system.signals import Interrupted
from tiny_mnist.system.terminal import use_lenient_streams


def run(main: Callable[[], None], configs: Path | None = None) -> None:
    """Run a Hydra main; an error that the user can fix ends it with one line and status 1.

    `HYDRA_FULL_ERROR=1` gives the traceback instead, as everywhere in Hydra. An interrupted program
    ends with status 128 plus the number of the signal.

    Args:
        main: a function that Hydra has decorated.
        configs: the folder of its configurations; None for `configs` beside the program.
    """
    use_lenient_streams()
    tune_malloc()
    # What the user said; processes that Lightning starts inherit it.
    os.environ.setdefault(TRACEBACK, os.environ.get("HYDRA_FULL_ERROR", "0"))
    # Hydra would print an error itself; told to give all of it, it raises the error.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # A full disk, which breaks the log and TensorBoard's threads too, is reported elsewhere.
    logging.raiseExceptions = False
    threading.excepthook = ignore_disk_errors_in_thread
    handle_broken_pipe()
    try:
        # Classes of the user's own are found in the current folder, after all that is installed.
        sys.path.append(str(Path.cwd()))
        with explaining_interrupts():
            main()
    except KeyboardInterrupt:  # before there is anything to save
        sys.exit(130)
    except Exception as error:
        program = getattr(main, "__wrapped__", main)
        beside = Path(program.__code__.co_filename).resolve().parent / "configs"
        stop(error, message=suggest(error, configs or beside))


def run_job(config: DictConfig) -> float:
    """Run one job: a run of its own, a run that is resumed, or a job of a sweep.

    Args:
        config: the configuration that Hydra composed, with the keys `resume` and `trust`.

    Returns:
        The final accuracy in percent: on held-out images if there are any, else on the test images.
        NaN for a job of a sweep that failed.
    """
    # Here, not above: PyTorch and Lightning take seconds to load, and --help needs neither.
    from tiny_mnist.training.train import train

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        tune_malloc()  # in a process that a launcher may have started
        try:
            return job.run_sweep_job(train, config, folder)
        except Interrupted as interrupted:
            if is_sequential(cast(DictConfig, HydraConfig.instance().cfg)):
                raise
            sys.exit(interrupted.status)  # in a process of its own: the sweep prints the message
    with explaining_interrupts(folder):
        if config.resume is not None:
            return resume_run(train, config, folder)
        return start_run(train, config, folder)


def start_run(train: Callable[..., float], config: DictConfig, folder: Path) -> float:
    """Train in a new run folder, which is removed again if the start is refused."""
    settings = run_settings(config)
    if not is_rank_zero():
        return train(settings, folder)
    run = RunFolder(folder)
    is_new = not run.configuration.exists()
    try:
        with run.open():  # before anything is written
            job.save_config(run, settings)
            return train(settings, folder)
    except Exception as error:
        # A full disk can be fixed, and the run is as good as it was; a wrong setting, or a missing
        # device, has left nothing to resume.
        if is_new and format_error(error) and not isinstance(error, OSError):
            run.remove_untrained()
        stop(error, folder if folder.exists() else None)


def resume_run(train: Callable[..., float], config: DictConfig, folder: Path) -> float:
    """Resume the run in a folder with its saved configuration."""
    run, overrides = RunFolder(folder), list(HydraConfig.get().overrides.task)
    try:
        settings, epochs = load_resume_config(run, overrides, read_trust_flag(config))
        if config.resume == LATEST and (folder.parent / MULTIRUN).exists() and is_rank_zero():
            run_name, sweep = display_path(folder), display_path(folder.parent)
            print(f"Resuming {run_name} alone; resume={sweep} resumes its whole sweep")
        if settings.trainer.max_epochs > epochs:
            if is_rank_zero():
                print(describe_prolonging(run, epochs, settings.trainer.max_epochs))
        elif report_finished(run):
            return job.score_or_nan(run)
        return train(settings, folder, resume=True)
    except Exception as error:
        stop(error, folder)


def report_finished(run: RunFolder) -> bool:
    """Print the result of a run if it is finished.

    Returns:
        Whether the run is finished: it has a summary that can be read.
    """
    if not run.summary.exists():
        return False
    try:
        result = describe_result(run)
    except UserError as error:
        if is_rank_zero():
            print(f"{error}; it is written again")
        return False
    if is_rank_zero():
        print(f"{display_path(run.path)} is finished{result}")
    return True
