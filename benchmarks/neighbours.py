"""Training speed beside busy processes: `python -m benchmarks.neighbours`.

Compares settings of OpenMP, of which `train.py` uses the default. One process per setting trains
the network in windows of some seconds; the windows of all settings alternate, so that a drift of
the machine affects all equally. The neighbours are endless loops of Python.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.contestant import PROJECT

OPENMP_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's default": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{
        f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)}
        for count in (2000, 10_000, 50_000)
    },
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
BUSY_LOOP = "while True: pass"


class Worker:
    """A process that trains with one setting for a given time on request.

    Args:
        environment: OpenMP's variables for this process; the others are unset.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in OPENMP_VARIABLES}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.neighbours", "--worker"],
            cwd=PROJECT, env=inherited | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def images_per_second(self, seconds: float) -> float:
        """Train for about `seconds`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(seconds, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def run_worker() -> None:
    """Read seconds from standard input, train for that long, print images/s; repeat."""
    import torch
    from torch.nn import functional as F

    from benchmarks.recipe import adagrad
    from tiny_mnist.data import MNISTDataModule, ModelBatch
    from tiny_mnist.models.cpu_layout import use_onednn_layout
    from tiny_mnist.models.tiny_cnn import TinyCNN
    from tiny_mnist.system.memory import tune_malloc

    tune_malloc()
    torch.manual_seed(0)
    data = MNISTDataModule()
    data.setup("fit")
    network = TinyCNN().to(memory_format=torch.channels_last)
    use_onednn_layout(network)
    optimizer, _ = adagrad(network, fused=True)

    def batches() -> Iterator[ModelBatch]:
        while True:
            for batch in data.train_dataloader():
                yield data.on_after_batch_transfer(batch, 0)

    stream = batches()
    for line in sys.stdin:
        started, images = perf_counter(), 0
        while perf_counter() - started < float(line) or not images:
            batch = next(stream)
            optimizer.zero_grad()
            F.nll_loss(network(batch.images), batch.labels).backward()
            optimizer.step()
            images += len(batch.labels)
        print(images / (perf_counter() - started), flush=True)


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Keep `count` other processes computing."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_speeds(
    seconds: float, rounds: int, neighbours: list[int]
) -> dict[str, dict[int, list[float]]]:
    """Images/s by setting and number of neighbours, one figure per round."""
    speeds: dict[str, dict[int, list[float]]] = {
        name: {count: [] for count in neighbours} for name in SETTINGS
    }
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(environment)) for name, environment in SETTINGS.items()
        }
        for worker in workers.values():
            worker.images_per_second(0.2)
        for _ in range(rounds):
            for count in neighbours:
                with busy_neighbours(count):
                    for name, worker in workers.items():
                        speeds[name][count].append(worker.images_per_second(seconds))
    return speeds


def main(
    seconds: Annotated[float, typer.Option(help="length of one window")] = 10,
    rounds: Annotated[int, typer.Option(help="windows per setting and number of neighbours")] = 2,
    neighbours: Annotated[str, typer.Option(help="numbers of busy processes")] = "0,1,2",
    worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Show the median speed of each setting, its slowest window, and the share of idle speed."""
    if worker:
        return run_worker()
    counts = [int(count) for count in neighbours.split(",")]
    speeds = measure_speeds(seconds, rounds, counts)
    table = Table("images/s: median (slowest)", *(f"{n} neighbours" for n in counts))
    for name, by_count in speeds.items():
        idle = statistics.median(by_count[counts[0]])
        cells = [
            f"{statistics.median(values):,.0f} ({min(values):,.0f}) "
            f"{statistics.median(values) / idle:.2f}"
            for values in by_count.values()
        ]
        table.add_row(name, *cells)
    Console().print(table)
    return None


if __name__ == "__main__":
    typer.run(main)
