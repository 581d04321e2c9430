"""Batches straight from one tensor of images: no workers, no per-sample Python."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tiny_mnist.data.transforms import Augmentation, RotateShiftParams, WarpParams, make_generator

EVALUATION_BATCH = 1000  # images; only speed and memory depend on it


class Batch(NamedTuple):
    """Raw images of one step; augmentation and normalisation follow on the training device."""

    images: UInt8[Tensor, "batch 28 28"]
    labels: Int64[Tensor, " batch"]
    params: RotateShiftParams | WarpParams | None = None
    """None for images that are not to be augmented."""
    global_batch_size: int | None = None
    """Images of this step over all processes; None outside training."""


class Shard(NamedTuple):
    """Which part of every batch a process works on."""

    rank: int = 0
    world_size: int = 1


class TrainingLoader:
    """The training images, shuffled and augmented anew each epoch.

    Order and motions are functions of (seed, epoch, image) alone: they depend on no generator
    state, batch size or number of processes, so a run can be repeated, resumed or split exactly.
    Lightning announces each epoch through `set_epoch`.

    Args:
        images: all training images.
        labels: their digits.
        indices: the images to train on.
        batch_size: images a step, over all processes.
        seed: of order and motions.
        augmentation: how much the images are varied.
        share: the part of each batch that this process gets.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "all 28 28"],
        labels: Int64[Tensor, " all"],
        indices: Int64[Tensor, " used"],
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (immutable)
        shard: Shard = Shard(),  # noqa: B008 (immutable)
    ) -> None:
        self.images, self.labels, self.indices = images, labels, indices
        self.batch_size, self.seed, self.shard = batch_size, seed, shard
        self.augmentation = augmentation
        self.epoch = 0
        self.batches_yielded = self.start_batch = 0

    @property
    def sampler(self) -> "TrainingLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order and motions the next iteration gives."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How far the epoch has come, in batches."""
        return {"batches": self.batches_yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on after that many batches."""
        self.start_batch = state["batches"]

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = make_generator(self.seed, self.epoch)
        # Drawn for all images, so that holding some out changes nothing for the others.
        params = self.augmentation.draw(len(self.images), generator)
        order = torch.randperm(len(self.images), generator=generator)
        used = torch.zeros(len(self.images), dtype=torch.bool)
        used[self.indices] = True
        order = order[used[order]]
        device = self.images.device  # once an epoch: a transfer a step would make a GPU wait
        params = params and params.of(order).to(device)
        order = order.to(device)
        self.batches_yielded, self.start_batch = self.start_batch, 0
        first, step = self.shard
        for start in range(self.batches_yielded * self.batch_size, len(order), self.batch_size):
            self.batches_yielded += 1
            mine = slice(start + first, start + self.batch_size, step)
            chosen = order[mine]
            global_batch_size = min(self.batch_size, len(order) - start)
            # Indexing by brackets takes five times as long.
            raw = self.images.index_select(0, chosen)
            yield Batch(raw, self.labels[chosen], params and params.of(mine), global_batch_size)


class EvaluationLoader:
    """Images in their own order, not augmented, in batches of `batch_size` over all processes."""

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
        first, step = self.shard
        for images, labels in zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        ):
            yield Batch(images[first::step], labels[first::step])
