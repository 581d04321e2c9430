"""LightningDataModules of 28×28 grey images: splits, folds, and batch augmentation.

`IdxDataModule` has the logic. `MNISTDataModule` and `FashionMNISTDataModule`, at the end, only name
the dataset whose files they fetch.
"""

import functools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tiny_mnist.data import download
from tiny_mnist.data.datasets import FASHION_MNIST, MNIST, DatasetInfo, IdxDataset
from tiny_mnist.data.idx import LabelledImages, load_idx
from tiny_mnist.data.loaders import EVALUATION_BATCH, Batch, EvaluationLoader, Shard, TrainingLoader
from tiny_mnist.data.splits import check_sizes, stratified_folds, stratified_sample
from tiny_mnist.data.transforms import Augmentation, make_generator, normalize
from tiny_mnist.errors import DataError

SPLIT_STREAM = 2**32  # of the generator that selects subsets; above all epoch numbers
FOLD_STREAM = SPLIT_STREAM + 1  # of the generator that deals images out to folds


class ModelBatch(NamedTuple):
    """Input of the network, with labels."""

    images: Float[Tensor, "batch 1 28 28"]
    """Normalised."""
    labels: Int64[Tensor, " batch"]
    global_batch_size: int | None = None
    """Number of images of this step in all processes; None outside training."""


class IdxDataModule(pl.LightningDataModule):
    """Augmented images for training, unchanged ones for evaluation, from any four IDX files.

    With `val_size=0`, all training images are used for training, and the validation images are the
    test images, as in the original. Otherwise `val_size` training images are held out for
    validation, or one of `folds` disjoint parts, of which each image belongs to one.

    A batch is a `ModelBatch`: normalised images [batch, 1, 28, 28] and their labels. The defaults
    are those of `configs/data/mnist.yaml`.

    Args:
        root: the folder of the four files.
        batch_size: the number of training images per step, over all processes.
        train_size: the number of images to train on; None for all that are not held out.
        val_size: the number of training images held out, stratified by class.
        val_seed: the seed that determines which images are held out, and which `train_size`
            selects.
        folds: the number of parts, stratified by class; None for no cross-validation.
        fold: the number of the part that is held out, from 0; needed with `folds`.
        fold_seed: the seed that determines which images are in which part.
        rotation, translation, scale, shear, elastic, sampling, flip: the ranges of `Augmentation`.
        seed: the seed that determines the order and the augmentation of the images.
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        train_size: int | None = None,
        val_size: int = 0,
        val_seed: int = 0,
        folds: int | None = None,
        fold: int | None = None,
        fold_seed: int = 0,
        rotation: float | int = 15,
        translation: float | int = 2,
        scale: float | int = 0,
        shear: float | int = 0,
        elastic: float | int = 0,
        sampling: Literal["nearest", "bicubic"] = "nearest",
        flip: float | int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser() if root else None
        self.batch_size, self.train_size = batch_size, train_size
        self.val_size, self.val_seed = val_size, val_seed
        self.folds, self.fold, self.fold_seed = folds, fold, fold_seed
        self.augmentation = Augmentation(
            rotation, translation, scale, shear, elastic, sampling, flip
        )
        self.seed = seed
        self.loader_state: dict[str, int] | None = None
        """State of the training loader in a checkpoint that was saved within an epoch."""

    def load(self) -> LabelledImages:
        """Read all images.

        Raises:
            DataError: the files are not what they should be, or there are none.
        """
        if self.root is None:
            raise DataError("data=idx needs data.root=FOLDER, a folder with four IDX files")
        return load_idx(self.root)

    @functools.cached_property
    def images(self) -> LabelledImages:
        """All images, on the training device once `setup` was called.

        Raises:
            DataError: the files are not available.
        """
        return self.load()

    @property
    def info(self) -> DatasetInfo:
        """What the images are; read from the files if it is not known.

        Raises:
            DataError: the files are not available.
        """
        return self.images.info

    @property
    def num_classes(self) -> int:
        """How many outputs a network for these images has."""
        return self.info.num_classes

    @property
    def eval_split(self) -> Literal["val", "test"]:
        """The images that are evaluated after each epoch: held-out ones or the test images."""
        return "val" if self.val_size or self.folds else "test"

    def setup(self, stage: str) -> None:
        """Read the images, fetching missing files, and copy them to the training device.

        Replaces `prepare_data`: the first process fetches, the others wait for its lock.

        Raises:
            DataError: the files are not available.
            UserError: there are too few images for the sizes asked for.
        """
        if hasattr(self, "train_indices"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        labels = self.images.train_labels
        check_sizes(len(labels), self.val_size, self.train_size, self.folds)
        is_held_out = torch.zeros(len(labels), dtype=torch.bool)
        if self.folds:
            generator = make_generator(self.fold_seed, FOLD_STREAM)
            parts = stratified_folds(labels, self.folds, self.num_classes, generator)
            is_held_out[parts == self.fold] = True
        else:
            is_held_out[self.stratified_sample(labels, self.val_size)] = True
        (self.val_indices,) = is_held_out.nonzero(as_tuple=True)
        (self.train_indices,) = (~is_held_out).nonzero(as_tuple=True)
        if self.train_size:
            subset = self.stratified_sample(labels[self.train_indices], self.train_size)
            self.train_indices = self.train_indices[subset]
        self.images = self.images.to(device)

    def stratified_sample(self, labels: Int64[Tensor, " all"], size: int) -> Int64[Tensor, " size"]:
        """Select indices by `val_seed`; see the function `stratified_sample`."""
        generator = make_generator(self.val_seed, SPLIT_STREAM)
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
            self.images.train_images,
            self.images.train_labels,
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
        """Let the next training loader start where the checkpoint was saved.

        Raises:
            ValueError: the state is not that of a training loader.
        """
        numbers = [state_dict.get(name) for name in ("epoch", "batches")]
        if state_dict and not all(isinstance(each, int) and each >= 0 for each in numbers):
            raise ValueError(f"the training loader has no state {state_dict}")
        self.loader_state = state_dict

    def val_dataloader(self) -> EvaluationLoader:
        """The held-out images, or the test images if none are held out."""
        if self.eval_split == "test":
            return self.test_dataloader()
        return self.evaluation_loader(
            self.images.train_images[self.val_indices], self.images.train_labels[self.val_indices]
        )

    def test_dataloader(self) -> EvaluationLoader:
        """The test images."""
        return self.evaluation_loader(self.images.test_images, self.images.test_labels)

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
        return ModelBatch(normalize(images, self.info), batch.labels, batch.global_batch_size)


class DownloadedDataModule(IdxDataModule):
    """Images of a known dataset, whose files are fetched and verified."""

    dataset: IdxDataset

    def load(self) -> LabelledImages:
        """Read all images, fetching missing files into the folder."""
        return download.load_dataset(self.root or download.default_root(self.dataset), self.dataset)

    @property
    def info(self) -> DatasetInfo:
        """What the images are."""
        return self.dataset.info


class MNISTDataModule(DownloadedDataModule):
    """Handwritten digits; `val_size`, `folds` and `train_size` select among 60,000 training images.

    A batch is a `ModelBatch`: `images`, normalised, float32 [batch, 1, 28, 28]; `labels`, int64
    [batch], 0 to 9; and `global_batch_size`, None outside training.

    Args:
        root: the folder of the four files, which are fetched if they are missing; None for
            `$MNIST_ROOT`, else `data/` in the project, else a cache folder.

    All other arguments are those of `IdxDataModule`.
    """

    dataset = MNIST


class FashionMNISTDataModule(DownloadedDataModule):
    """Photographs of clothes, shoes and bags; `root` is None for a folder below MNIST's."""

    dataset = FASHION_MNIST
