"""Environment that affects bit-exact results: threads, rounding to zero, package versions."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch

from tiny_mnist.errors import printable

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")
MAX_THREADS_PER_CPU = 4  # a larger number in a checkpoint is ignored


def describe_environment() -> dict[str, Any]:
    """Threads of PyTorch in this process, and the versions of Python and of `PACKAGES`."""
    return {
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


@contextmanager
def restoring_threads() -> Iterator[None]:
    """Restore the number of threads at the end: the next run of this process has its own."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Take numbers below 1.2e-38 for zero, in this thread and in those that it starts.

    CPUs compute with them many times slower. Weight decay shrinks a channel whose output is always
    zero to such numbers: epochs of `experiment=longest` became more than seven times slower so.
    """
    smallest = torch.tensor(torch.finfo(torch.float32).tiny)
    is_flushed = not bool(smallest / 2)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(is_flushed)


def match_environment(saved: Mapping[str, Any]) -> list[str]:
    """Train with as many threads as a checkpoint was written with, unless the user chose a number.

    Args:
        saved: the `environment` of a checkpoint, which may come from a stranger; nothing is
            compared with what it lacks.

    Returns:
        A line for each difference, and what follows from it.
    """
    lines = []
    now = describe_environment()
    threads = saved.get("threads", now["threads"])
    most = MAX_THREADS_PER_CPU * (os.cpu_count() or 1)
    if type(threads) is not int or not 1 <= threads <= most:
        lines.append(
            f"Ignoring the checkpoint's number of threads, which is not from 1 to {most}: the "
            "weights may differ in rounding"
        )
    elif threads != now["threads"]:
        if "OMP_NUM_THREADS" in os.environ:
            lines.append(
                f"The run was begun with {threads} and goes on with {now['threads']} threads, as "
                "OMP_NUM_THREADS says: its weights will differ in rounding"
            )
        else:
            torch.set_num_threads(threads)
            lines.append(f"Using {threads} threads, as when the run was begun")
    before = {"python": saved.get("python"), **dict(saved.get("packages") or {})}
    after = {"python": now["python"], **now["packages"]}
    changed = [
        f"{name} {printable(before[name])[:40]} → {after[name]}"
        for name in after
        if before.get(name) not in (None, after[name])
    ]
    if changed:
        lines.append(f"The run was begun with other versions: {', '.join(changed)}")
    return lines
