"""MNIST as a LightningDataModule: training, validation and test images, and batch augmentation."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tiny_mnist.data import download
from tiny_mnist.data.datasets import MNIST, IdxDataset
from tiny_mnist.data.loaders import EVALUATION_BATCH, Batch, EvaluationLoader, Shard, TrainingLoader
from tiny_mnist.data.transforms import MEAN, STD, Augmentation, make_generator, normalize

SPLIT_PURPOSE = 2**32  # of the generator that selects subsets; above all epoch numbers


class ModelBatch(NamedTuple):
    """Input of the network, with labels."""

    images: Float[Tensor, "batch 1 28 28"]
    """Normalised."""
    labels: Int64[Tensor, " batch"]
    global_batch_size: int | None = None
    """Number of images of this step in all processes; None outside training."""


class MNISTDataModule(pl.LightningDataModule):
    """Augmented MNIST images for training, unchanged ones for evaluation.

    With `val_size=0`, all training images are used for training, and the validation images are the
    test images, as in the original. Otherwise `val_size` training images are held out for
    validation.

    Args:
        root: folder of the four MNIST files; None for `download.default_root()`.
        batch_size: training images per step, over all processes.
        train_size: train on this number of images; None for all that are not held out.
        val_size: number of training images held out, stratified by class.
        val_seed: determines which images are held out and which `train_size` selects.
        rotation, translation, scale, shear, elastic, sampling: see `Augmentation`.
        seed: determines the order and the augmentation of the images.
    """

    dataset: IdxDataset = MNIST
    num_classes: int = MNIST.num_classes
    mean: float = MEAN
    std: float = STD

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
        """State of the training loader in a checkpoint that was saved within an epoch."""

    @property
    def eval_split(self) -> Literal["val", "test"]:
        """The images that are evaluated after each epoch: held-out ones or the test images."""
        return "val" if self.val_size else "test"

    def setup(self, stage: str) -> None:
        """Read the images, fetching missing files, and copy them to the training device.

        Replaces `prepare_data`: the first process fetches, the others wait for its lock.

        Raises:
            DataError: the files are not available.
        """
        if hasattr(self, "mnist"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        mnist = download.load(self.root, self.dataset)
        labels = mnist.train_labels
        self.val_indices = self.stratified_sample(labels, self.val_size)
        is_kept = torch.ones(len(labels), dtype=torch.bool)
        is_kept[self.val_indices] = False
        (self.train_indices,) = is_kept.nonzero(as_tuple=True)
        if self.train_size:
            subset = self.stratified_sample(labels[self.train_indices], self.train_size)
            self.train_indices = self.train_indices[subset]
        self.mnist = download.Mnist(*(tensor.to(device) for tensor in mnist))

    def stratified_sample(self, labels: Int64[Tensor, " all"], size: int) -> Int64[Tensor, " size"]:
        """Select indices by `val_seed`; see the function `stratified_sample`."""
        generator = make_generator(self.val_seed, SPLIT_PURPOSE)
        return stratified_sample(labels, size, self.num_classes, generator)

    @property
    def shard(self) -> Shard:
        """The part of each batch that this process works on."""
        if self.trainer is None:
            return Shard()
        return Shard(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> TrainingLoader:
        """Training images, shuffled and with the parameters of their augmentation."""
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

    # Lightning saves the state of a loader, but does not load it if a schedule has asked for the
    # number of steps before. So the data module saves and loads it.
    def state_dict(self) -> dict[str, Any]:
        """State of the training loader within an epoch; empty at the end of an epoch."""
        trainer = self.trainer
        loader = trainer.train_dataloader if trainer else None
        if not isinstance(loader, TrainingLoader) or trainer is None or trainer.is_last_batch:
            return {}
        return loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader start where the checkpoint was saved."""
        self.loader_state = state_dict

    def val_dataloader(self) -> EvaluationLoader:
        """The held-out images, or the test images if none are held out."""
        if not self.val_size:
            return self.test_dataloader()
        return self.evaluation_loader(
            self.mnist.train_images[self.val_indices], self.mnist.train_labels[self.val_indices]
        )

    def test_dataloader(self) -> EvaluationLoader:
        """The test images."""
        return self.evaluation_loader(self.mnist.test_images, self.mnist.test_labels)

    def predict_dataloader(self) -> EvaluationLoader:
        """The test images."""
        return self.test_dataloader()

    def evaluation_loader(self, images: Tensor, labels: Tensor) -> EvaluationLoader:
        """Batches of these images for evaluation."""
        return EvaluationLoader(images, labels, batch_size=EVALUATION_BATCH, shard=self.shard)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """The batch on the device, where `setup` has put all images already."""
        if isinstance(batch, Batch) and batch.images.device == device:
            return batch  # Lightning would look at each of its tensors
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> ModelBatch:
        """Augment training images and normalise all, on the training device."""
        images = batch.params.apply(batch.images) if batch.params else batch.images
        return ModelBatch(
            normalize(images, self.mean, self.std), batch.labels, batch.global_batch_size
        )


def stratified_sample(
    labels: Int64[Tensor, " all"], size: int, num_classes: int, generator: torch.Generator
) -> Int64[Tensor, " size"]:
    """Sample images with the class frequencies of `labels`.

    Each class gets its exact share rounded down; the classes with the largest remainders get one
    image more.

    Returns:
        Indices into `labels`, ascending.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    exact = counts.double() * size / len(labels)
    quota = exact.floor().long()
    remaining = size - int(quota.sum())
    quota[(exact - quota).argsort(descending=True, stable=True)[:remaining]] += 1
    samples = []
    for label, count in enumerate(quota.tolist()):
        (members,) = (labels == label).nonzero(as_tuple=True)
        samples.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(samples).sort().values
