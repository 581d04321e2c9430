"""MNIST as a LightningDataModule: what is trained on, what is evaluated, and batch augmentation."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tiny_mnist.data import download
from tiny_mnist.data.loaders import EVALUATION_BATCH, Batch, EvaluationLoader, Shard, TrainingLoader
from tiny_mnist.data.transforms import Augmentation, make_generator, normalize

SPLIT = 2**32  # where an epoch's number stands otherwise: a stream that no epoch draws from


class ModelBatch(NamedTuple):
    """What the network is fed."""

    images: Float[Tensor, "batch 1 28 28"]
    labels: Int64[Tensor, " batch"]
    global_batch_size: int | None = None
    """Images of this step over all processes; None outside training."""


class MNISTDataModule(pl.LightningDataModule):
    """Augmented MNIST for training, plain MNIST for evaluation.

    With `val_size=0`, as in the original, all images are trained on and every epoch is evaluated on
    the test images. Otherwise every epoch is evaluated on held-out training images, and the test
    images are for the end.

    Args:
        root: folder of the four MNIST files; None for `source.default_root()`.
        batch_size: training images a step, over all processes.
        train_size: train on this many images only; None for all that are not held out.
        val_size: training images held out, stratified by digit.
        val_seed: which images are held out.
        rotation, translation, scale, shear, elastic, sampling: see `Augmentation`.
        seed: of the order and the motions of the images.
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        train_size: int | None = None,
        val_size: int = 0,
        val_seed: int = 0,
        rotation: float | int = 15,
        translation: float | int = 2,
        scale: float | int = 0,
        shear: float | int = 0,
        elastic: float | int = 0,
        sampling: Literal["nearest", "bicubic"] = "nearest",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser() if root else download.default_root()
        self.batch_size, self.train_size = batch_size, train_size
        self.val_size, self.val_seed = val_size, val_seed
        self.augmentation = Augmentation(rotation, translation, scale, shear, elastic, sampling)
        self.seed = seed
        self.loader_state: dict[str, int] | None = None
        """Where the training loader was left, in a run that is resumed within an epoch."""

    @property
    def eval_split(self) -> Literal["val", "test"]:
        """Which images every epoch is evaluated on."""
        return "val" if self.val_size else "test"

    def setup(self, stage: str) -> None:
        """Read the images, fetching them if need be, onto the training device, where they stay.

        No `prepare_data`: of several processes, one fetches while the others wait for it.
        """
        if hasattr(self, "mnist"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        mnist = download.load(self.root)
        held_out = stratified_sample(mnist.train_labels, self.val_size, self.val_seed)
        kept = torch.ones(len(mnist.train_labels), dtype=torch.bool)
        kept[held_out] = False
        (self.train_indices,) = kept.nonzero(as_tuple=True)
        if self.train_size:
            chosen = stratified_sample(
                mnist.train_labels[self.train_indices], self.train_size, self.val_seed
            )
            self.train_indices = self.train_indices[chosen]
        self.val_indices = held_out
        self.mnist = download.Mnist(*(part.to(device) for part in mnist))

    @property
    def shard(self) -> Shard:
        """The part of every batch that this process works on."""
        if self.trainer is None:
            return Shard()
        return Shard(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled training images, each epoch moved anew."""
        loader = TrainingLoader(
            self.mnist.train_images,
            self.mnist.train_labels,
            self.train_indices,
            batch_size=self.batch_size,
            seed=self.seed,
            augmentation=self.augmentation,
            shard=self.shard,
        )
        if self.loader_state:
            loader.load_state_dict(self.loader_state)
        return loader

    # Lightning keeps the state of a loader by itself, but forgets to load it once it has been asked
    # how many steps there are, as schedules do.
    def state_dict(self) -> dict[str, Any]:
        """Where the training loader is, within an epoch."""
        trainer = self.trainer
        if trainer is None or trainer.train_dataloader is None or trainer.is_last_batch:
            return {}
        state: dict[str, Any] = trainer.train_dataloader.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the training loader go on there."""
        self.loader_state = state_dict

    def val_dataloader(self) -> EvaluationLoader:
        """The images that every epoch is evaluated on: held-out ones, or the test images."""
        if not self.val_size:
            return self.test_dataloader()
        return EvaluationLoader(
            self.mnist.train_images[self.val_indices],
            self.mnist.train_labels[self.val_indices],
            batch_size=EVALUATION_BATCH,
            shard=self.shard,
        )

    def test_dataloader(self) -> EvaluationLoader:
        """The 10,000 test images."""
        return EvaluationLoader(
            self.mnist.test_images,
            self.mnist.test_labels,
            batch_size=EVALUATION_BATCH,
            shard=self.shard,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> ModelBatch:
        """Augment, if the batch says how, and normalise: on the device, all images at once."""
        images = batch.params.apply(batch.images) if batch.params else batch.images
        return ModelBatch(normalize(images), batch.labels, batch.global_batch_size)


def stratified_sample(
    labels: Int64[Tensor, " all"], size: int, seed: int
) -> Int64[Tensor, " size"]:
    """Indices, ascending, of `size` images with the digits in the proportions of `labels`.

    Each digit gets its proportion rounded down; the largest remainders get one more.
    """
    generator = make_generator(seed, SPLIT)
    counts = torch.bincount(labels, minlength=10)
    exact = counts.double() * size / len(labels)
    quota = exact.floor().long()
    short = size - int(quota.sum())
    quota[(exact - quota).argsort(descending=True, stable=True)[:short]] += 1
    chosen = []
    for digit, n in enumerate(quota.tolist()):
        (members,) = (labels == digit).nonzero(as_tuple=True)
        chosen.append(members[torch.randperm(len(members), generator=generator)[:n]])
    return torch.cat(chosen).sort().values
