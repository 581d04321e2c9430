"""Many seeds at once: `python -m benchmarks.stacked_seeds`.

Trains several networks in one process, their weights stacked by `torch.func`, with a thread for
each core. This is compared with a process for each core, each with one network on one thread, as
`hydra/launcher=joblib` runs them. Each network has batches of its own; plain SGD, on prepared
images.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from benchmarks.contestant import BATCH, PROJECT
from tiny_mnist.models.cpu_layout import use_onednn_layout
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.memory import tune_malloc

RATE = 0.01
SEPARATE = 0  # networks of a worker that trains without torch.func


def make_stacked_step(networks: int) -> Callable[[Tensor, Tensor], None]:
    """A training step of several networks; takes images [networks, batch, …] and their labels."""
    models = [TinyCNN() for _ in range(networks)]
    for model in models:  # vmap cannot update running statistics; a step costs the same without
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    weights, buffers = stack_module_state(models)

    def loss(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        log_probs = functional_call(models[0], (weights, buffers), (images,))
        return F.nll_loss(log_probs, labels)

    gradients = vmap(grad(loss))

    @torch.no_grad()
    def step(images: Tensor, labels: Tensor) -> None:
        for name, gradient in gradients(weights, images, labels).items():
            weights[name].sub_(gradient, alpha=RATE)

    return step


def make_separate_step() -> Callable[[Tensor, Tensor], None]:
    """A training step of one network, as `train.py` runs it."""
    model = TinyCNN().to(memory_format=torch.channels_last)
    use_onednn_layout(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.nll_loss(model(images[0]), labels[0]).backward()
        optimizer.step()

    return step


def run_worker(networks: int, seconds: float) -> None:
    """Train for so many seconds after a warm-up, and print the images/s of all networks."""
    tune_malloc()
    torch.manual_seed(0)
    step = make_stacked_step(networks) if networks else make_separate_step()
    images = torch.randn(networks or 1, BATCH, 1, 28, 28)
    labels = torch.randint(0, 10, images.shape[:2])
    for _ in range(5):
        step(images, labels)
    started, steps = perf_counter(), 0
    while perf_counter() - started < seconds:
        step(images, labels)
        steps += 1
    print(steps * labels.numel() / (perf_counter() - started))


def measure(networks: int, processes: int, threads: int, seconds: float) -> float:
    """Images/s of all processes together, each with so many networks and threads."""
    command = [sys.executable, "-m", "benchmarks.stacked_seeds", f"--worker={networks}"]
    workers = [
        subprocess.Popen(
            [*command, f"--seconds={seconds}"], cwd=PROJECT, text=True, stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        for _ in range(processes)
    ]  # fmt: skip
    return sum(float(worker.communicate()[0]) for worker in workers)


def main(
    seconds: Annotated[float, typer.Option(help="length of one measurement")] = 5,
    rounds: Annotated[int, typer.Option(help="measurements of each way, in turn")] = 3,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Show the median speed of each way, and its ratio to separate processes."""
    if worker is not None:
        return run_worker(worker, seconds)
    cores = os.cpu_count() or 1
    ways = {
        f"{cores} processes, a network and a thread each": (SEPARATE, cores, 1),
        **{
            f"one process, {count} networks stacked, {cores} threads": (count, 1, cores)
            for count in (2, 4, 8)
        },
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (networks, processes, threads) in ways.items():
            speeds[name].append(measure(networks, processes, threads, seconds))
    table = Table("way", "images/s of all networks", "ratio")
    first = next(iter(speeds.values()))
    for name, values in speeds.items():
        ratio = median(value / other for value, other in zip(values, first, strict=True))
        table.add_row(name, f"{median(values):,.0f}", f"{ratio:.2f}")
    Console().print(table)
    return None


if __name__ == "__main__":
    typer.run(main)
