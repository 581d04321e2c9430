"""Time of a training step by kind of operation: `python -m benchmarks.step`.

PyTorch's profiler measures the bare loop on prepared batches of 128, in both memory layouts. The
parts of preparing a batch are then timed one by one, next to simpler ways of doing the same.
"""

from collections import Counter
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.bare_loop import build_network, prepare_batches
from benchmarks.contestant import BATCH, Job
from benchmarks.recipe import adagrad
from tiny_mnist.data import MNIST, download
from tiny_mnist.data.transforms import normalize, rotate_and_shift, sample_rotate_shift
from tiny_mnist.system.memory import tune_malloc

WARM_UP, STEPS, REPEATS = 20, 100, 300
KINDS = {  # parts of the names of PyTorch's operations, the first that fits
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("convolution",),
    "batch norm, backward": ("batch_norm_backward",),
    "batch norm, forward": ("batch_norm",),
    "pool": ("max_pool2d",),
    "ReLU": ("relu", "threshold"),
    "optimizer": ("adagrad", "Optimizer"),
    "memory layout": ("to_mkldnn", "to_dense", "clone", "copy_", "reorder"),
}


def profile_step(layout: str) -> dict[str, float]:
    """Milliseconds of a step by kind of operation, in the layout "oneDNN" or "channels-last"."""
    job = Job(STEPS, "", without="oneDNN's layout" if layout == "channels-last" else "")
    torch.manual_seed(0)
    batches, model = prepare_batches(job), build_network(job)
    optimizer, _ = adagrad(model, fused=True)

    def train(steps: int) -> None:
        for images, labels, _ in batches[:steps]:
            optimizer.zero_grad()
            F.nll_loss(model(images), labels).backward()
            optimizer.step()

    train(WARM_UP)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        train(STEPS)
    spent: Counter[str] = Counter()
    for event in found.key_averages():
        kind = next(
            (kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)),
            "all else, and the calls between them",
        )
        spent[kind] += event.self_cpu_time_total / 1000 / STEPS
    return dict(spent)


def median_milliseconds(call: Callable[[], object]) -> float:
    """Median time of a call."""
    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        call()
        times.append(1000 * (perf_counter() - started))
    return median(times)


def time_batch_preparation() -> dict[str, float]:
    """Milliseconds of each part of preparing a batch."""
    mnist = download.load_dataset(download.default_root())
    chosen = torch.randperm(len(mnist.train_images))[:BATCH]
    params = sample_rotate_shift(BATCH, rotation=15, translation=2, generator=torch.Generator())
    raw = mnist.train_images[chosen]
    return {
        "copy 128 images by index_select": median_milliseconds(
            lambda: mnist.train_images.index_select(0, chosen)
        ),
        "… by indexing with brackets": median_milliseconds(lambda: mnist.train_images[chosen]),
        "augment them": median_milliseconds(lambda: rotate_and_shift(raw, params)),
        "normalise them": median_milliseconds(lambda: normalize(raw, MNIST.info)),
    }


def main() -> None:
    """Measure and print."""
    tune_malloc()
    layouts = ("oneDNN", "channels-last")
    profiles = {
        layout: profile_step(layout) for layout in track(layouts, "Profiling", transient=True)
    }
    console = Console(highlight=False)
    table = Table(title=f"A step of {BATCH} images, ms", box=SIMPLE_HEAD)
    table.add_column("")
    for layout in layouts:
        table.add_column(layout, justify="right")
    for kind in sorted(profiles["oneDNN"], key=lambda kind: -profiles["oneDNN"][kind]):
        table.add_row(kind, *(f"{profiles[layout].get(kind, 0):.2f}" for layout in layouts))
    table.add_row("together", *(f"{sum(profiles[layout].values()):.2f}" for layout in layouts))
    console.print(table)
    table = Table(title=f"Preparing a batch, ms, median of {REPEATS}", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("ms", justify="right")
    for name, spent in time_batch_preparation().items():
        table.add_row(name, f"{spent:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
