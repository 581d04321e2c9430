"""The original's way: torchvision transforms per sample in DataLoader workers, and a plain loop.

It imports nothing of this project, so that time and memory are the original's alone.
"""

from collections.abc import Iterator
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.contestant import BATCH, Job, Result, main, seconds_for, workers_mb
from benchmarks.recipe import adagrad

Batch = tuple[Tensor, Tensor]


def conv_block(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """Convolution → batch norm → ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel), nn.BatchNorm2d(channels_out), nn.ReLU(),
    ]  # fmt: skip


def build_network() -> nn.Sequential:
    """The original's network of 9,594 parameters; pooling follows the ReLU."""
    return nn.Sequential(
        *conv_block(1, 8, 3), *conv_block(8, 16, 3), nn.MaxPool2d(2),
        *conv_block(16, 16, 3), *conv_block(16, 16, 3), nn.MaxPool2d(2),
        *conv_block(16, 16, 3), *conv_block(16, 16, 2),
        nn.Flatten(), nn.Linear(16, 10), nn.LogSoftmax(dim=1),
    )  # fmt: skip


def make_loaders(job: Job) -> tuple["DataLoader[Batch]", "DataLoader[Batch]"]:
    """Augmented, shuffled training batches, and plain test batches."""
    plain = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    augmentations = [
        transforms.RandomRotation(15),
        transforms.RandomAffine(0, translate=(2 / 28, 2 / 28)),
    ]
    # The original does not say whether it transforms PIL images or tensors.
    steps = [plain[0], *augmentations, plain[1]] if job.tensors else [*augmentations, *plain]
    train = datasets.MNIST(job.mnist, train=True, transform=transforms.Compose(steps))
    test = datasets.MNIST(job.mnist, train=False, transform=transforms.Compose(plain))
    return (
        DataLoader(train, BATCH, shuffle=True, num_workers=job.workers),
        DataLoader(test, BATCH, num_workers=job.workers),
    )


def measure(job: Job) -> Result:
    """Train `job.steps` steps; evaluate on all test images if the job asks for it."""
    torch.manual_seed(0)
    train, test = make_loaders(job)
    model = build_network().train()
    optimizer, schedule = adagrad(model)
    losses, correct = [], 0

    def step(batch: Batch) -> None:
        nonlocal correct
        images, labels = batch
        optimizer.zero_grad()
        log_probs = model(images)
        loss = F.nll_loss(log_probs, labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        correct += int((log_probs.argmax(dim=1) == labels).sum().item())

    batches: Iterator[Batch] = iter(train)
    result = {"images": BATCH * job.steps, "seconds": seconds_for(step, batches, job.steps)}
    result["workers_mb"] = workers_mb()
    del batches  # and with it the workers
    if job.evaluate:
        result["evaluation_seconds"] = seconds_of_evaluation(model, test)
    return result


@torch.no_grad()
def seconds_of_evaluation(model: nn.Module, test: "DataLoader[Batch]") -> float:
    """Seconds of one evaluation on all test images, including the start of the workers."""
    model.eval()
    loss, correct = 0.0, 0
    started = perf_counter()
    for images, labels in test:
        log_probs = model(images)
        loss += F.nll_loss(log_probs, labels).item()
        correct += int((log_probs.argmax(dim=1) == labels).sum().item())
    return perf_counter() - started


if __name__ == "__main__":
    main(measure)
