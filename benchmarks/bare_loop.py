"""The bare loop: plain PyTorch with the same arithmetic and optimizations as the program.

It has no Lightning, no metrics and no display. Its batches are in memory before the clock starts,
normalised or still to be augmented. Single optimizations can be switched off or added, to measure
the effect of each.
"""

from itertools import cycle

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.contestant import Job, Result, main, seconds_for
from benchmarks.recipe import adagrad
from tiny_mnist.data import MNIST, download
from tiny_mnist.data.transforms import (
    RotateShiftParams,
    normalize,
    rotate_and_shift,
    sample_rotate_shift,
)
from tiny_mnist.models import TinyCNN
from tiny_mnist.models.cpu_layout import use_onednn_layout
from tiny_mnist.system.memory import tune_malloc

Batch = tuple[Tensor, Tensor, RotateShiftParams]


def measure(job: Job) -> Result:
    """Train `job.steps` steps."""
    if job.without != "kept memory":
        tune_malloc()
    torch.manual_seed(0)
    batches = prepare_batches(job)
    model = build_network(job)
    optimizer, schedule = adagrad(model, fused=job.without != "fused optimizer")
    bfloat16 = torch.autocast("cpu", torch.bfloat16, enabled=job.trying == "bfloat16")

    def step(batch: Batch) -> None:
        images, labels, params = batch
        if job.augment:
            images = normalize(rotate_and_shift(images, params), MNIST.info)
        optimizer.zero_grad()
        with bfloat16:
            loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        schedule.step()

    seconds = seconds_for(step, cycle(batches), job.steps)
    return {"images": job.batch * job.steps, "seconds": seconds}


def build_network(job: Job) -> nn.Module:
    """The network with the optimizations that the job names."""
    model = TinyCNN()
    if job.without not in ("oneDNN's layout", "either layout"):
        use_onednn_layout(model)
    if job.without != "either layout":
        model = model.to(memory_format=torch.channels_last)
    return model


def prepare_batches(job: Job) -> list[Batch]:
    """All full batches of one shuffled epoch, normalised unless they are to be augmented."""
    mnist = download.load_dataset(download.default_root())
    full = len(mnist.train_images) // job.batch * job.batch
    order = torch.randperm(len(mnist.train_images))[:full]
    params = sample_rotate_shift(full, rotation=15, translation=2, generator=torch.Generator())
    images = mnist.train_images[order]
    parts = (
        (images if job.augment else normalize(images, MNIST.info)).split(job.batch),
        mnist.train_labels[order].split(job.batch),
        map(RotateShiftParams, params.angles.split(job.batch), params.shifts.split(job.batch)),
    )
    return list(zip(*parts, strict=True))


if __name__ == "__main__":
    main(measure)
