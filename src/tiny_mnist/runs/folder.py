"""The run folder: its paths, its lock, and the small files in it. Free of torch."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.config.loading import load_config
from tiny_mnist.errors import UserError
from tiny_mnist.system.atomic_files import atomic_write

FAILURE, PRUNED = "failure.txt", "pruned.txt"
"""In the folder of a job: the reason of its early end."""

Row = dict[str, float | int | None]
"""One epoch's metrics by column name; None where nothing was measured."""


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
        self.configuration = self.path / ".hydra" / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.summary = self.path / "summary.json"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions_visualization.png"
        self.confusion = self.path / "confusion_matrix.png"

    @property
    def has_results(self) -> bool:
        """Whether a run has already left results here, finished or not."""
        left = (self.last_checkpoint, self.previous_checkpoint, self.metrics, self.summary)
        return any(path.exists() for path in left)

    def remove_untrained(self) -> None:
        """Remove the folder if all that it holds was left by a start that came to nothing."""
        if self.is_locked:  # another process has just begun
            return
        traces = (".hydra/*", "train*.log", "checkpoints/.lock", "events.*", "*/events.*")
        files = [path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file()]
        if all(any(is_at(file, trace) for trace in traces) for file in files):
            shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Create the folder and keep it for this process: two must not train in one.

        Raises:
            UserError: another process works here.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.lock, timeout=0, is_singleton=True):  # one process may open it twice
                yield
        except Timeout:
            raise UserError(f"another process is training in {self.path}") from None

    @property
    def is_locked(self) -> bool:
        """Whether a process is training here."""
        if not self.lock.exists():  # nor is it made by looking
            return False
        try:
            with self.open():
                return False
        except UserError:
            return True

    @property
    def newest_checkpoint(self) -> Path | None:
        """The last checkpoint, or the one before it if it was about to be replaced."""
        paths = (self.last_checkpoint, self.previous_checkpoint)
        return next((path for path in paths if path.exists()), None)

    def write_metrics(self, columns: Iterable[str], rows: Iterable[Row]) -> None:
        """Write `metrics.csv`, one row an epoch, whole each time: a kill leaves no half row."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        with atomic_write(self.metrics) as file:
            file.write(text.getvalue().encode())

    def read_metrics(self) -> list[Row]:
        """Read `metrics.csv` back.

        Raises:
            UserError: there is none, or it is not a table of numbers.
        """
        try:
            with self.metrics.open(newline="") as file:
                return [
                    {
                        key: (int(cell) if key == "epoch" else float(cell)) if cell else None
                        for key, cell in row.items()
                    }
                    for row in csv.DictReader(file)
                ]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.metrics} cannot be read: {error}") from error

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, the last file of a run: where it is, the run is finished."""
        with atomic_write(self.summary) as file:
            file.write((json.dumps(summary, indent=2) + "\n").encode())


def is_at(file: Path, pattern: str) -> bool:
    """Whether a relative path matches a pattern, in as many folders."""
    return file.match(pattern) and len(file.parts) == len(Path(pattern).parts)


def job_number(path: Path) -> int:
    """The number of the job that a file of its folder belongs to; the last for other folders."""
    number = path.parent.name.partition("_")[0]
    return int(number) if number.isdecimal() else sys.maxsize


def latest_unfinished_run(runs: Path) -> RunFolder:
    """The run below a folder that was begun last, and neither finished nor is being worked on.

    Raises:
        UserError: there is none.
    """
    found = [RunFolder(path.parents[1]) for path in runs.rglob(".hydra/config.yaml")]
    found.sort(key=lambda run: run.configuration.stat().st_mtime_ns, reverse=True)
    for run in found:
        given_up = any((run.path / name).exists() for name in (FAILURE, PRUNED))
        if not (run.summary.exists() or given_up or run.is_locked):
            return run
    raise UserError(f"no unfinished run below {runs.resolve()}")


def save_overridden_config(run: RunFolder, config: DictConfig) -> None:
    """Make a changed configuration the run's own, and a finished run an unfinished one.

    Only when nothing else can go wrong: what is refused has changed nothing.
    """
    if config == load_config(run.configuration):
        return
    run.summary.unlink(missing_ok=True)
    with atomic_write(run.configuration) as file:
        file.write(OmegaConf.to_yaml(config).encode())
