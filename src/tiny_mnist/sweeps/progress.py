"""One display for jobs that run side by side, here or on a cluster: read from their folders."""

import csv
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiny_mnist.config.loading import load_config
from tiny_mnist.errors import UserError, printable
from tiny_mnist.runs.folder import CONFIGURATION, FAILURE, PRUNED, RunFolder, job_number
from tiny_mnist.system.plain_files import read_text

INTERVAL = 1.0  # seconds between two refreshes
MAX_JOB_LINES = 16


class SweepProgress:
    """A bar for the sweep and a line for each running job; a line that stays for each that ended.

    Args:
        folder: the folder of the sweep.
        jobs: the number of jobs.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        # Bound now: a job in this process redirects the standard output while it runs.
        console = Console(file=sys.stdout, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.bar = Progress(
            *columns,
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.total = self.bar.add_task("Jobs", total=jobs)
        self.running: dict[Path, Any] = {}
        self.endings = {job: ended for job in self.jobs_begun() if (ended := self.ending(job))}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Refresh the display in a thread of its own for as long as the context is entered."""
        stop = threading.Event()
        thread = threading.Thread(target=self.follow, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def follow(self, stop: threading.Event) -> None:
        """Refresh the display until it is stopped."""
        with self.bar:
            while not stop.wait(INTERVAL):
                self.refresh()
            self.refresh()

    def jobs_begun(self) -> list[Path]:
        """The folders of jobs that were begun."""
        found = [path.parents[1] for path in self.folder.glob(f"*/{CONFIGURATION}")]
        return sorted(found, key=job_number)

    def ending(self, job: Path) -> str | None:
        """How a job ended; None while it has not."""
        try:
            for name, prefix in ((FAILURE, "failed: "), (PRUNED, "")):
                if (note := job / name).exists():
                    return prefix + printable(read_text(note).strip())
            split, accuracy = RunFolder(job).read_score()
            seconds = float(RunFolder(job).read_summary()["training_seconds"])
        except (OSError, UserError, ValueError, KeyError, TypeError, OverflowError):
            return None
        result = "not evaluated" if accuracy is None else f"{split} {accuracy:.2f} %"
        return f"{result}  {seconds:.1f} s"

    def refresh(self) -> None:
        """Show what has changed."""
        for job in self.jobs_begun():
            if (ended := self.ending(job)) is not None:
                if self.endings.get(job) != ended:
                    self.endings[job] = ended
                    self.bar.console.print(
                        escape(f"{printable(job.name)}  {ended}"), soft_wrap=True
                    )
                if job in self.running:
                    self.bar.remove_task(self.running.pop(job))
                continue
            self.endings.pop(job, None)
            if (epochs := count_epochs(job)) is None:
                continue
            if job not in self.running and len(self.running) < MAX_JOB_LINES:
                name = escape(f"{printable(job.name)[:40]}, epoch")
                self.running[job] = self.bar.add_task(name, total=read_planned_epochs(job))
            if job in self.running:
                self.bar.update(self.running[job], completed=epochs)
        finished = sum(not ended.startswith("failed") for ended in self.endings.values())
        self.bar.update(self.total, completed=finished)


def read_planned_epochs(job: Path) -> int | None:
    """How many epochs a job is to do; None when that cannot be read, as while it is written."""
    try:
        config = load_config(RunFolder(job).configuration)
        # As it is written: a stranger's interpolations could take for ever.
        return int(OmegaConf.to_container(config, resolve=False)["trainer"]["max_epochs"])  # type: ignore[index, call-overload]
    except Exception:  # OmegaConf's, YAML's, and what comes of half a number
        return None


def count_epochs(job: Path) -> int | None:
    """How many epochs a job has done; None when it has not begun to train."""
    try:
        return sum(1 for _ in csv.DictReader(read_text(RunFolder(job).metrics).splitlines()))
    except (OSError, UserError, csv.Error):
        return None if not RunFolder(job).checkpoints.exists() else 0
