"""One job of a sweep: skip a finished one, resume a begun one, record a failure."""

import errno
import logging
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.config.loading import (
    differences,
    load_config,
    plain_config,
    resolve_config,
    run_settings,
)
from tiny_mnist.config.trust import check_trusted, read_trust_flag
from tiny_mnist.errors import DataError, UserError, format_error
from tiny_mnist.runs.folder import FAILURE, PRUNED, RunFolder
from tiny_mnist.system.atomic_files import remove_unfinished, write_text
from tiny_mnist.system.plain_files import check_not_link
from tiny_mnist.system.signals import (
    PREEMPT_SIGNAL,
    ChildProcesses,
    DeferredInterrupt,
    Interrupted,
)

log = logging.getLogger(__name__)

IMAGE_KEYS = ("data", "data.root", "data._target_", "experiment")
"""Keys that choose the images of a run; a whole recipe may do so, too."""

MAX_NAME_LENGTH = (
    120  # characters of a job directory, all but one ASCII; file systems allow 255 bytes
)


class TrialPruned(Exception):  # noqa: N818 (Optuna's word: nothing went wrong)
    """A trial is ended early, for its accuracy is below that of earlier trials."""


def job_folder(number: int, overrides: str) -> str:
    """Job directory name: job number plus swept overrides."""
    name = re.sub(r"[^\w.,=+-]+", "_", f"{number}_{overrides}", flags=re.ASCII).strip("_")
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def needs_processes(config: DictConfig) -> bool:
    """Whether Lightning starts several processes for a run, by its strategy."""
    strategy = str(config.trainer.get("strategy", "auto"))
    return not strategy.startswith(("auto", "single_device"))


def save_config(run: RunFolder, config: DictConfig) -> None:
    """Write `.hydra/` as Hydra itself would, while the run is locked.

    A run can be resumed once it has `config.yaml`, which is therefore written last.

    Args:
        run: the run, which this process has opened.
        config: the configuration of the run.
    """
    files: dict[Path, Any] = {}
    if HydraConfig.initialized():
        files[run.hydra_configuration] = HydraConfig.instance().cfg
        files[run.overrides] = HydraConfig.get().overrides.task
    files[run.configuration] = config
    run.configuration.parent.mkdir(exist_ok=True)
    remove_unfinished(run.written_files)
    for path, content in files.items():
        write_text(path, OmegaConf.to_yaml(content))


def run_sweep_job(train: Callable[..., float], config: DictConfig, folder: Path) -> float:
    """Run one job of a sweep in its folder.

    Args:
        train: the function that trains, as `tiny_mnist.training.train.train`.
        config: the configuration of the job, with the keys of the launch.
        folder: the folder of the job.

    Returns:
        As `train`. NaN when another process works on the job, when it failed (`failure.txt` has the
        reason), and when it was pruned (`pruned.txt`).

    Raises:
        DataError, OSError: no other job could be run either, as on a full disk; nothing is
            recorded.
        Interrupted: the job was told to stop, and has saved its state.
    """
    if multiprocessing.parent_process() is not None:
        hold_signals_between_jobs()
    run = RunFolder(folder)
    settings, trust = run_settings(config), read_trust_flag(config)
    check_not_link(folder, folder=True)  # else all of the run would be written elsewhere
    if (score := finished_score(run)) is not None:
        (folder / FAILURE).unlink(missing_ok=True)  # of an earlier try
        return score
    if run.is_locked:
        log.warning("job %s: another process is training there", folder.name)
        return math.nan
    with terminal_output_discarded():
        try:
            with run.open():
                (folder / FAILURE).unlink(missing_ok=True)
                begun = run.has_results
                if begun:
                    settings = load_job_config(run.configuration, settings, trust)
                else:
                    save_config(run, settings)
                if not needs_processes(settings):
                    return train(settings, folder, resume=begun)
            return run_in_subprocess(folder)
        except TrialPruned as pruned:
            write_text(folder / PRUNED, f"pruned at {pruned}\n")
        except Interrupted as interrupted:
            handler = signal.getsignal(interrupted.number)
            if interrupted.number == PREEMPT_SIGNAL and callable(handler):
                handler(interrupted.number, None)  # submitit's: puts the job back into the queue
            raise
        except Exception as error:
            if stops_every_job(error, swept_keys()):
                raise
            log.info("the job failed", exc_info=error)
            if not run.is_locked:  # else another process has begun it in the meantime
                reason = format_error(error) or f"{type(error).__name__}, see train.log"
                write_text(folder / FAILURE, f"{reason}\n")
    return math.nan


def hold_signals_between_jobs() -> None:
    """Defer signals between the jobs of a pool's process; they interrupt its next job.

    A process that ends while it hands a result on would leave the pool waiting for the rest.

    Raises:
        Interrupted: a signal was held back since the last job.
    """
    with DeferredInterrupt():
        pass
    DeferredInterrupt(held=True).listen()


def stops_every_job(error: Exception, swept: Collection[str]) -> bool:
    """Whether an error would meet the other jobs too: no images, or a disk that takes no more.

    Args:
        error: the error of one job.
        swept: the keys whose values differ between the jobs.
    """
    if isinstance(error, DataError):
        return not {*IMAGE_KEYS} & {*swept}
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def swept_keys() -> set[str]:
    """The keys whose values differ between the jobs of the sweep that Hydra is running."""
    if not HydraConfig.initialized():
        return set()
    hydra = HydraConfig.get()
    keys = {text.partition("=")[0].lstrip("+~") for text in hydra.overrides.task}
    return keys - {*hydra.job.config.override_dirname.exclude_keys}


@contextmanager
def terminal_output_discarded() -> Iterator[None]:
    """Discard the standard output: the sweep shows the progress of all jobs by itself."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def load_job_config(saved: Path, config: DictConfig, trust: bool) -> DictConfig:
    """The saved configuration of a job that was begun.

    Args:
        saved: the file of that configuration.
        config: the configuration of the same job as composed today.
        trust: whether the saved configuration, where it is another one, may name classes other
            than this package's listed ones, `torch.optim`'s, and Lightning's Trainer, callbacks
            and loggers; their code is run.

    Raises:
        UserError: it cannot be read, or is not trusted.
    """
    own = run_settings(load_config(saved))
    if not trust and plain_config(own) != plain_config(config):
        check_trusted(own, saved)
    if changed := sorted(differences(resolve_config(own), resolve_config(config))):
        log.warning(
            "%s: Resuming with the saved configuration; ignoring changes to %s",
            saved.parents[1].name,
            ", ".join(changed),
        )
    return own


def run_in_subprocess(folder: Path) -> float:
    """Run a job of several processes as a program of its own, which starts the others.

    Lightning starts them with the arguments of its own program, which would be the whole sweep.

    Raises:
        UserError: it failed.
        Interrupted: it was told to stop, and has saved its state.
    """
    program = str(Path(sys.argv[0]).resolve())
    # This process has composed the saved configuration, or checked it.
    command = [sys.executable, program, resume_override(folder), "trust=true"]
    with ChildProcesses() as children:
        process = children.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, errors = process.communicate()
    if children.received:
        raise Interrupted(children.received[0])
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"status {process.returncode}, see train.log"]
        raise UserError(last[0].removeprefix("error: "))
    return score_or_nan(RunFolder(folder))


def quote_override_value(path: Path) -> str:
    """A path as a value in Hydra's override grammar, where `=`, `,` and braces have a meaning."""
    return QuotedString(str(path), Quote.double).with_quotes().replace("${", r"\${")


def resume_override(path: Path) -> str:
    """The override that resumes what is in a folder."""
    text = str(path)
    is_plain = re.fullmatch(r"[\w./-]+", text, re.ASCII)
    return f"resume={text if is_plain else quote_override_value(path)}"


def finished_score(run: RunFolder) -> float | None:
    """As `score_or_nan`; None if the run is unfinished or its summary must be written again."""
    if not run.summary.exists():
        return None
    try:
        return score_or_nan(run)
    except UserError as error:
        log.warning("%s; it is written again", error)
        return None


def score_or_nan(run: RunFolder) -> float:
    """The final accuracy of a finished run in percent; NaN where nothing was measured.

    Raises:
        UserError: its summary is damaged.
    """
    accuracy = run.read_score().accuracy
    return math.nan if accuracy is None else float(accuracy)
