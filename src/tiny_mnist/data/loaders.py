"""Loaders that index one tensor of images: no worker processes, no Python code per sample."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tiny_mnist.data.transforms import Augmentation, RotateShiftParams, WarpParams, make_generator

EVALUATION_BATCH = 500
"""Images; only speed and memory depend on it. The activations of 1,000 exceed 32 MiB, the size from
which malloc asks the system for fresh pages each time: they take a quarter longer, or twice as long
in a program without `tune_malloc`."""


class Batch(NamedTuple):
    """Images and labels of one step, before augmentation and normalisation."""

    images: UInt8[Tensor, "batch 28 28"]
    labels: Int64[Tensor, " batch"]
    params: RotateShiftParams | WarpParams | None = None
    """The augmentation of each image; None without augmentation."""
    global_batch_size: int | None = None
    """Number of images of this step in all processes; None outside training."""


class Shard(NamedTuple):
    """Rank of a process and number of processes that share each batch."""

    rank: int = 0
    world_size: int = 1


class TrainingLoader:
    """Batches of training images in a new order and with a new augmentation in each epoch.

    Order and augmentation are functions of (seed, epoch, image) alone. They do not depend on
    PyTorch's global generator, the batch size or the number of processes, so that a run can be
    repeated, resumed or split exactly. Lightning calls `set_epoch` before each epoch.

    Args:
        images: all training images, with pixels 0–255.
        labels: the classes of the images.
        indices: the images to train on.
        batch_size: the number of images per step, over all processes.
        seed: the seed that determines order and augmentation.
        augmentation: the ranges of the augmentation.
        shard: the part of each batch that this process works on.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "all 28 28"],
        labels: Int64[Tensor, " all"],
        indices: Int64[Tensor, " used"],
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        shard: Shard = Shard(),  # noqa: B008 (immutable)
    ) -> None:
        self.images, self.labels, self.indices = images, labels, indices
        self.batch_size, self.seed, self.shard = batch_size, seed, shard
        self.augmentation = augmentation
        self.epoch = 0
        self.batches_yielded = self.start_batch = self.start_epoch = 0

    @property
    def sampler(self) -> "TrainingLoader":
        """This loader: Lightning calls `set_epoch` of a loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """The current epoch, and how many of its batches were yielded."""
        return {"epoch": self.epoch, "batches": self.batches_yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration start after that number of batches, if it is of that epoch."""
        self.start_batch, self.start_epoch = state["batches"], state["epoch"]

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = make_generator(self.seed, self.epoch)
        # Drawn for all images, so that they do not depend on which of them are used.
        params = self.augmentation.sample(len(self.images), generator)
        order = torch.randperm(len(self.images), generator=generator)
        is_used = torch.zeros(len(self.images), dtype=torch.bool)
        is_used[self.indices] = True
        order = order[is_used[order]]
        device = self.images.device  # copied once per epoch, because each copy makes a GPU wait
        params = params and params.select(order).to(device)
        order = order.to(device)
        is_resumed = self.start_epoch == self.epoch
        self.batches_yielded, self.start_batch = self.start_batch if is_resumed else 0, 0
        rank, world_size = self.shard
        for start in range(self.batches_yielded * self.batch_size, len(order), self.batch_size):
            self.batches_yielded += 1
            positions = slice(start + rank, start + self.batch_size, world_size)
            indices = order[positions]
            yield Batch(
                self.images.index_select(0, indices),  # five times as fast as self.images[indices]
                self.labels[indices],
                params and params.select(positions),
                global_batch_size=min(self.batch_size, len(order) - start),
            )


class EvaluationLoader:
    """Batches of images in their stored order, without augmentation.

    Args:
        images: pixels 0–255.
        labels: the classes of the images.
        batch_size: the number of images per step, over all processes.
        shard: the part of each batch that this process works on.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "all 28 28"],
        labels: Int64[Tensor, " all"],
        *,
        batch_size: int,
        shard: Shard = Shard(),  # noqa: B008 (immutable)
    ) -> None:
        self.images, self.labels = images, labels
        self.batch_size, self.shard = batch_size, shard

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rank, world_size = self.shard
        for images, labels in zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        ):
            yield Batch(images[rank::world_size], labels[rank::world_size])
