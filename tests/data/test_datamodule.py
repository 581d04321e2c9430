"""The images of each split, and the input of the network."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from support.program import PROJECT
from tiny_mnist.data import MNIST, MNISTDataModule, ModelBatch
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.loaders import EvaluationLoader
from tiny_mnist.data.transforms import normalize, rotate_and_shift


def set_up(root: Path, **settings: Any) -> MNISTDataModule:
    data = MNISTDataModule(str(root), **settings)
    data.setup("fit")
    return data


def test_defaults_are_those_of_the_configuration() -> None:
    """Overrides need the keys in the file, and callers in Python the values."""
    config = OmegaConf.load(PROJECT / "configs" / "data" / "mnist.yaml")
    config.update({"seed": 0, "val_seed": 0})  # instead of interpolations
    del config["_target_"]
    parameters = inspect.signature(MNISTDataModule).parameters
    assert {name: each.default for name, each in parameters.items()} == config


def evaluated(loader: EvaluationLoader) -> tuple[Tensor, Tensor]:
    images, labels, *_ = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("val_size", [7, 5000])
def test_held_out_images_are_stratified_and_not_trained_on(
    mnist_root: Path, mnist: LabelledImages, val_size: int
) -> None:
    data = set_up(mnist_root, val_size=val_size)
    both = torch.cat([data.train_indices, data.val_indices])
    assert len(data.val_indices) == val_size
    assert both.sort().values.equal(torch.arange(60_000))

    exact = torch.bincount(mnist.train_labels) * val_size / 60_000
    held_out = torch.bincount(mnist.train_labels[data.val_indices], minlength=10)
    assert (held_out - exact).abs().max() < 1


def test_held_out_images_depend_on_val_seed_alone(mnist_root: Path) -> None:
    first = set_up(mnist_root, val_size=5000, val_seed=1, seed=1)
    torch.manual_seed(0)
    same = set_up(mnist_root, val_size=5000, val_seed=1, seed=2, batch_size=64)
    other = set_up(mnist_root, val_size=5000, val_seed=2, seed=1)
    assert first.val_indices.equal(same.val_indices)
    assert torch.isin(first.val_indices, other.val_indices).float().mean() < 0.15  # by chance 0.083


def test_validation_images_are_the_held_out_ones(mnist_root: Path, mnist: LabelledImages) -> None:
    data = set_up(mnist_root, val_size=2500)
    images, labels = evaluated(data.val_dataloader())
    assert data.eval_split == "val"
    assert images.equal(mnist.train_images[data.val_indices])
    assert labels.equal(mnist.train_labels[data.val_indices])


def test_without_held_out_images_validation_images_are_the_test_images(
    mnist_root: Path, mnist: LabelledImages
) -> None:
    data = set_up(mnist_root, val_size=0)
    assert data.eval_split == "test"
    assert data.train_indices.equal(torch.arange(60_000))
    for loader in (data.val_dataloader(), data.test_dataloader()):
        images, labels = evaluated(loader)
        assert images.equal(mnist.test_images)
        assert labels.equal(mnist.test_labels)


def test_train_size_selects_from_the_images_that_are_not_held_out(
    mnist_root: Path, mnist: LabelledImages
) -> None:
    data = set_up(mnist_root, train_size=1003, val_size=5000)
    labels = torch.cat([batch.labels for batch in data.train_dataloader()])
    assert not torch.isin(data.train_indices, data.val_indices).any()
    assert len(data.train_indices.unique()) == len(labels) == 1003
    digits = torch.bincount(mnist.train_labels) * 1003 / 60_000
    assert (torch.bincount(labels) - digits).abs().max() < 2


def test_training_batches_are_augmented_and_normalised(mnist_root: Path) -> None:
    data = set_up(mnist_root, train_size=256)
    batch = next(iter(data.train_dataloader()))
    fed = data.on_after_batch_transfer(batch, 0)
    assert fed.images.shape == (128, 1, 28, 28)
    assert fed.images.dtype == torch.float32
    assert fed.labels.equal(batch.labels)
    assert batch.params is not None
    assert fed.images.equal(normalize(rotate_and_shift(batch.images, batch.params), MNIST.info))
    assert not fed.images.equal(normalize(batch.images, MNIST.info))


def test_test_batches_are_normalised_only(mnist_root: Path, mnist: LabelledImages) -> None:
    data = set_up(mnist_root)
    fed = [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]
    assert torch.cat([batch.images for batch in fed]).equal(
        normalize(mnist.test_images, MNIST.info)
    )
    assert torch.cat([batch.labels for batch in fed]).equal(mnist.test_labels)


class Watcher(pl.LightningModule):
    """Keeps all batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[ModelBatch]] = []

    def on_train_epoch_start(self) -> None:
        """Begin a new list."""
        self.seen.append([])

    def training_step(self, batch: ModelBatch) -> Tensor:
        """Keep the batch."""
        self.seen[-1].append(batch)
        return self.weight * 0

    def validation_step(self, batch: ModelBatch) -> None:
        """Lightning warns without this method."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_batch_is_moved_to_a_device_only_if_it_is_elsewhere(mnist_root: Path) -> None:
    data = MNISTDataModule(str(mnist_root), batch_size=4)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert data.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.images.device.type == moved.params.angles.device.type == "meta"
    pair = (batch.images, batch.labels)  # of a user's own loader
    assert data.transfer_batch_to_device(pair, torch.device("meta"), 0)[0].device.type == "meta"


def trainer_of_a_user(**options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


class Probe(Watcher):
    """Counts the images of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def training_step(self, batch: ModelBatch) -> Tensor:
        """Count the images."""
        self.counts["train"] += len(batch.labels)
        return self.weight * batch.images.mean()

    def validation_step(self, batch: ModelBatch) -> None:
        """Count the images."""
        self.counts["val"] += len(batch.labels)

    def test_step(self, batch: ModelBatch) -> None:
        """Count the images."""
        self.counts["test"] += len(batch.labels)

    def predict_step(self, batch: ModelBatch) -> Tensor:
        """Return one number per image."""
        return batch.images.mean(dim=(1, 2, 3))


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)`", "ignore:The '.*_dataloader' does not have many"
)
def test_own_trainer_fits_validates_tests_and_predicts(mnist_root: Path) -> None:
    data = MNISTDataModule(str(mnist_root), train_size=300, val_size=200)
    model, trainer = Probe(), trainer_of_a_user(max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(model, datamodule=data)
    assert model.counts == {"train": 300, "val": 200}
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    assert model.counts == {"train": 300, "val": 400, "test": 10_000}
    predictions = trainer_of_a_user().predict(model, datamodule=MNISTDataModule(str(mnist_root)))
    assert sum(len(part) for part in predictions or []) == 10_000


@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`")  # Lightning's own
def test_each_epoch_has_its_own_order_and_augmentation_under_lightning(mnist_root: Path) -> None:
    watcher = Watcher()
    trainer = trainer_of_a_user(max_epochs=2, limit_val_batches=0)
    data = MNISTDataModule(str(mnist_root), train_size=300)
    trainer.fit(watcher, datamodule=data)

    loader = data.train_dataloader()
    first, second = (epoch[0] for epoch in watcher.seen)
    assert not first.labels.equal(second.labels)
    for epoch, seen in enumerate(watcher.seen):
        loader.set_epoch(epoch)
        expected = [data.on_after_batch_transfer(batch, 0) for batch in loader]
        for fed, wanted in zip(seen, expected, strict=True):
            assert fed.images.equal(wanted.images)
            assert fed.labels.equal(wanted.labels)
