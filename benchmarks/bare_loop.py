"""The bare loop: the fastest plain PyTorch that we know for the same arithmetic.

All levers of the program, but no Lightning, no metrics, no display, and batches that lie ready in
memory: already normalised, or still to be augmented.
"""

from itertools import cycle

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.contestant import (
    BATCH,
    DIV_FACTOR,
    MAX_LR,
    PCT_START,
    TOTAL_STEPS,
    Job,
    Result,
    main,
    seconds_for,
)
from tiny_mnist.allocator import keep_freed_memory
from tiny_mnist.data import source
from tiny_mnist.data.augment import Motions, draw_motions, move, normalize
from tiny_mnist.network import TinyCNN

Batch = tuple[Tensor, Tensor, Motions]


def measure(job: Job) -> Result:
    """Train `job.steps` steps."""
    keep_freed_memory()
    torch.manual_seed(0)
    batches = ready_batches(job)
    model = TinyCNN().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=MAX_LR, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, MAX_LR, total_steps=TOTAL_STEPS, pct_start=PCT_START,
        div_factor=DIV_FACTOR, final_div_factor=DIV_FACTOR, cycle_momentum=False,
    )  # fmt: skip

    def step(batch: Batch) -> None:
        images, labels, motions = batch
        if job.augment:
            images = normalize(move(images, motions))
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()
        schedule.step()

    return {"images": BATCH * job.steps, "seconds": seconds_for(step, cycle(batches), job.steps)}


def ready_batches(job: Job) -> list[Batch]:
    """All full batches of one shuffled epoch, normalised unless they are to be augmented."""
    mnist = source.load(source.default_root())
    full = len(mnist.train_images) // BATCH * BATCH
    order = torch.randperm(len(mnist.train_images))[:full]
    motions = draw_motions(full, rotation=15, translation=2, generator=torch.Generator())
    images = mnist.train_images[order]
    parts = (
        (images if job.augment else normalize(images)).split(BATCH),
        mnist.train_labels[order].split(BATCH),
        map(Motions, motions.angles.split(BATCH), motions.shifts.split(BATCH)),
    )
    return list(zip(*parts, strict=True))


if __name__ == "__main__":
    main(measure)
