"""Job, clock and result of all measured programs."""

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TypeVar

BATCH = 128
WARM_UP = 20  # steps before the clock starts; more than any loader has ready beforehand
PROJECT = Path(__file__).parents[1]

Result = dict[str, float]
"""At least `images` and the `seconds` that they took."""
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """The task of one measured program, which is passed to it as JSON.

    Args:
        steps: the number of training steps that are timed.
        mnist: the folder with the files as torchvision wants them, made by `benchmarks.prepare`.
        batch: the number of images a step.
        workers: the number of processes of the original's DataLoader.
        tensors: whether the original's transforms take tensors; else PIL images.
        evaluate: whether the original's evaluation is measured too.
        augment: whether the bare loop augments.
        without: the name of an optimization that the bare loop switches off.
        trying: the name of a further optimization of the bare loop; for `benchmarks.start`, a
            program in Python.
        overrides: the overrides of the configuration of train.py.
    """

    steps: int
    mnist: str
    batch: int = BATCH
    workers: int = 0
    tensors: bool = False
    evaluate: bool = False
    augment: bool = False
    without: str = ""
    trying: str = ""
    overrides: Sequence[str] = ()

    def to_json(self) -> str:
        """The job as one command-line argument."""
        return json.dumps(asdict(self))


def main(measure: Callable[[Job], Result]) -> None:
    """Run the program `python -m benchmarks.<contestant> JOB RESULT_FILE`."""
    job, file = sys.argv[1:]
    Path(file).write_text(json.dumps(measure(Job(**json.loads(job)))))


def seconds_for(step: Callable[[T], None], batches: Iterator[T], steps: int) -> float:
    """Seconds for `steps` steps after the warm-up, including the wait for each batch."""
    for batch in islice(batches, WARM_UP):
        step(batch)
    started = perf_counter()
    for batch in islice(batches, steps):
        step(batch)
    return perf_counter() - started


def workers_mb() -> float:
    """Unshared memory of living child processes in MB; 0 where there is no /proc.

    The shared part of their memory belongs to the parent and is counted there.
    """
    total = 0
    for child in multiprocessing.active_children():
        rollup = Path(f"/proc/{child.pid}/smaps_rollup")
        if rollup.exists():
            total += sum(
                int(line.split()[1])
                for line in rollup.read_text().splitlines()
                if line.startswith("Private_")
            )
    return total / 1024
