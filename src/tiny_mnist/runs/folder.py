"""The run folder: its paths, its lock, and the small files in it. Free of torch."""

import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.config.loading import load_config
from tiny_mnist.errors import UserError
from tiny_mnist.system.atomic_files import write_csv, write_json, write_text
from tiny_mnist.system.plain_files import (
    check_not_link,
    is_percentage,
    read_json_object,
    without_nan,
)

CONFIGURATION = ".hydra/config.yaml"
SUMMARY = "summary.json"
FAILURE, PRUNED = "failure.txt", "pruned.txt"
"""Files in the folder of a job that ended early; they hold the reason."""

LATEST = "latest"
"""Given in place of a run folder, means the newest one below `RUNS`."""
RUNS = Path("runs")

LOCK_TIMEOUT, LOCK_POLL = 0.5, 0.01
"""Seconds: `RunFolder.is_locked` in another process holds the lock for some microseconds."""

EVENT_PREFIX = "events.out.tfevents."
EVENT_SUFFIX = ".tiny-mnist"
"""Ends the names of the TensorBoard files that a run writes; pass it as `filename_suffix`."""
EVENT_FOLDERS = (".", "train", "val", "test")
"""Where in a run folder TensorBoard files are."""

Row = dict[str, float | int | None]
"""One epoch's metrics by column name; None where nothing was measured."""


class Score(NamedTuple):
    """What a finished run is judged by."""

    split: Literal["val", "test"]
    """Held-out images if there are any, else the test images."""
    accuracy: float | None
    """After the last epoch, in percent; None where nothing was measured."""


class RunFolder:
    """The files of one run, by name.

    Args:
        path: the folder; created by `open`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.lock = self.checkpoints / ".lock"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.previous_checkpoint = self.checkpoints / "previous.ckpt"
        self.configuration = self.path / CONFIGURATION
        self.hydra_configuration = self.path / ".hydra" / "hydra.yaml"
        self.overrides = self.path / ".hydra" / "overrides.yaml"
        self.log = self.path / "train.log"
        self.metrics = self.path / "metrics.csv"
        self.summary = self.path / SUMMARY
        self.logger_ids = self.path / "loggers.json"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions_visualization.png"
        self.confusion = self.path / "confusion_matrix.png"

    @property
    def written_files(self) -> list[Path]:
        """The files that a run writes, but for TensorBoard's, whose names hold the time."""
        return [
            self.configuration, self.hydra_configuration, self.overrides, self.last_checkpoint,
            self.previous_checkpoint, self.log,
            self.metrics, self.summary, self.curves, self.predictions, self.confusion,
            self.logger_ids, self.path / FAILURE, self.path / PRUNED,
        ]  # fmt: skip

    @property
    def event_folders(self) -> list[Path]:
        """The folders of the TensorBoard files; not those that are run folders of their own."""
        folders = [self.path / name for name in EVENT_FOLDERS]
        return [
            folder for folder in folders if folder == self.path or not (folder / ".hydra").exists()
        ]

    @property
    def has_results(self) -> bool:
        """Whether a run has already left results here, finished or not."""
        left = (self.last_checkpoint, self.previous_checkpoint, self.metrics, self.summary)
        return any(path.exists() for path in left)

    def check_no_links(self) -> None:
        """Check that no file or folder that a run writes here is a link or a special file.

        A stranger's folder could otherwise have files elsewhere changed when it is resumed.

        Raises:
            UserError: one is; the message names it.
        """
        hydra = self.configuration.parent
        for folder in (self.checkpoints, hydra, *self.event_folders):
            if folder != self.path:
                check_not_link(folder, folder=True)
        for path in self.written_files:
            check_not_link(path)
        inner = [folder for folder in (self.checkpoints, hydra) if folder.is_dir()]
        for path in (path for folder in inner for path in folder.iterdir()):
            check_not_link(path)
        for folder in self.event_folders:
            for path in folder.glob(f"{EVENT_PREFIX}*"):
                check_not_link(path)

    def remove_untrained(self) -> None:
        """Remove the folder if all that it holds was left by a start that came to nothing.

        Only files with the names of such a start are removed, and folders that are empty then.
        """
        if self.is_locked:  # another process has just begun
            return
        traces = (".hydra/*", "train*.log", "checkpoints/.lock", "events.*", "*/events.*")
        files = [path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir()]
        left = [path for trace in traces for path in self.path.glob(trace)]
        if {*files} - {*left}:
            return
        folders = {parent for path in left for parent in path.parents}
        folders |= {self.path, self.checkpoints, *self.event_folders}
        inside = [each for each in folders if each == self.path or self.path in each.parents]
        with suppress(OSError):
            for path in left:
                path.unlink(missing_ok=True)
        for folder in sorted(inside, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):  # it is absent, or holds something else
                folder.rmdir()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Create the folder and lock it for this process: two must not train in one.

        Raises:
            UserError: another process holds the lock, or a file here is a link.
        """
        self.check_no_links()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            # A singleton: one process may open the folder twice, as a launch and its training do.
            lock = FileLock(
                self.lock, timeout=LOCK_TIMEOUT, poll_interval=LOCK_POLL, is_singleton=True
            )
            with lock:
                yield
        except Timeout:
            raise UserError(f"another process is training in {self.path}") from None

    @property
    def is_locked(self) -> bool:
        """Whether a process is training here.

        The probe is a shared lock that is given back at once: several probes do not see each other,
        and a process that starts meanwhile tries again in `open`.
        """
        try:
            handle = os.open(self.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # nobody has opened the folder yet
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    @property
    def newest_checkpoint(self) -> Path | None:
        """The last checkpoint, or the one before it if it was about to be replaced."""
        paths = (self.last_checkpoint, self.previous_checkpoint)
        return next((path for path in paths if path.exists()), None)

    def write_metrics(self, columns: Iterable[str], rows: Iterable[Row]) -> None:
        """Write `metrics.csv` anew, one row an epoch; a kill leaves the previous file."""
        write_csv(self.metrics, columns, rows)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, the last file of a run: a run that has one is finished.

        NaN and infinities, as losses of a diverged run are, become null.
        """
        write_json(self.summary, without_nan(summary))

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json` back.

        Raises:
            UserError: there is none, or it is not a JSON object.
        """
        return read_json_object(self.summary)

    def read_score(self) -> Score:
        """The final accuracy of a finished run, from `summary.json`.

        Raises:
            UserError: there is no summary, or it is damaged.
        """
        summary = self.read_summary()
        split: Literal["val", "test"] = "val" if summary.get("val_images") else "test"
        key = f"{split}_accuracy"
        accuracy = summary.get(key, "missing")
        if accuracy is not None and not is_percentage(accuracy):
            raise UserError(
                f"{self.summary} is not the summary of a run: {key} is not a number from 0 to 100"
            )
        return Score(split, accuracy)


def job_number(folder: Path) -> int:
    """The number in the name of a job's folder; the largest integer for other folders."""
    number = folder.name.partition("_")[0]
    return int(number) if number.isdecimal() else sys.maxsize


def resolve_run(name: str | Path) -> RunFolder:
    """The run folder that a user names; `latest` is the newest with a checkpoint below `runs/`.

    Raises:
        UserError: there is no such folder.
    """
    if str(name) == LATEST:
        for run in runs_below(RUNS):
            if run.newest_checkpoint is not None:
                return run
        raise UserError(f"no run with a checkpoint below {RUNS.resolve()}")
    path = Path(name)
    if not path.exists():
        with suppress(RuntimeError):  # ~ of an unknown user
            path = path.expanduser()
    if path.exists() and not path.is_dir():
        raise UserError(f"{name} is a file; name the folder of a run, such as runs/2026-…")
    if not path.is_dir():
        raise UserError(f"{name} is no run folder, such as runs/2026-…")
    return RunFolder(path)


def resolve_trained_run(name: str | Path) -> RunFolder:
    """As `resolve_run`, for a run that has a checkpoint.

    Raises:
        UserError: there is no such folder, or no checkpoint in it.
    """
    return RunFolder(find_trained_checkpoint(name).parents[1])


def find_trained_checkpoint(name: str | Path) -> Path:
    """The newest checkpoint of the run that a user names, as `resolve_run` takes it.

    Raises:
        UserError: there is no such folder, or no checkpoint in it.
    """
    run = resolve_run(name)
    checkpoint = run.newest_checkpoint
    if checkpoint is None:
        raise UserError(f"there is no checkpoint {run.last_checkpoint}")
    return checkpoint


def latest_unfinished_run(runs: Path) -> RunFolder:
    """The newest run below a folder that is neither finished nor given up nor being trained.

    Raises:
        UserError: there is none.
    """
    for run in runs_below(runs):
        given_up = any((run.path / name).exists() for name in (FAILURE, PRUNED))
        if not (run.summary.exists() or given_up or run.is_locked):
            return run
    raise UserError(f"no unfinished run below {runs.resolve()}")


def runs_below(folder: Path) -> list[RunFolder]:
    """All runs below a folder, those that began, or were prolonged, last first."""
    found = [path for path in folder.rglob(CONFIGURATION) if path.is_file()]
    found.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [RunFolder(path.parents[1]) for path in found]


def save_overridden_config(run: RunFolder, config: DictConfig) -> None:
    """Save a configuration that a resumed run was given, and mark a finished run as unfinished.

    Does nothing when it equals the saved one. Call it last: a refused start must change nothing.
    """
    if config == load_config(run.configuration):
        return
    run.summary.unlink(missing_ok=True)
    write_text(run.configuration, OmegaConf.to_yaml(config))
