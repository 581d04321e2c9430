"""What all measured programs share: their job, their clock and their result."""

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
    """What one measured program has to do; passed to it as JSON.

    Args:
        steps: training steps under the clock.
        batch: images a step, where a contestant can take another number than the default.
        mnist: folder with the files as torchvision wants them, made by `benchmarks.prepare`.
        workers: processes of the original's DataLoader.
        tensors: whether the original's transforms take tensors or PIL images.
        evaluate: whether the original's evaluation is measured too.
        augment: whether the bare loop augments.
        without: the lever that the bare loop does without.
        trying: what the bare loop tries on top of all levers.
        overrides: of the program's configuration.
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
