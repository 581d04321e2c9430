"""Folds of a cross-validation."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_mnist.data import LabelledImages, MNISTDataModule
from tiny_mnist.data.splits import stratified_folds
from tiny_mnist.data.transforms import make_generator


def held_out(root: Path, fold: int, **settings: Any) -> torch.Tensor:
    data = MNISTDataModule(str(root), folds=5, fold=fold, **settings)
    data.setup("fit")
    assert data.eval_split == "val"
    assert not torch.isin(data.train_indices, data.val_indices).any()
    assert len(data.train_indices) + len(data.val_indices) == 60_000
    return data.val_indices


def test_each_image_is_held_out_exactly_once(mnist_root: Path, mnist: LabelledImages) -> None:
    folds = [held_out(mnist_root, fold, seed=fold) for fold in range(5)]
    assert torch.cat(folds).sort().values.equal(torch.arange(60_000))
    counts = torch.stack([mnist.train_labels[fold].bincount() for fold in folds])
    assert (counts.amax(dim=0) - counts.amin(dim=0)).max() <= 1, "stratified"


def test_folds_depend_on_fold_seed_alone(mnist_root: Path) -> None:
    first = held_out(mnist_root, 0, seed=0, val_seed=0)
    torch.manual_seed(3)
    assert first.equal(held_out(mnist_root, 0, seed=1, val_seed=1, batch_size=64))
    other = held_out(mnist_root, 0, fold_seed=1)
    assert torch.isin(first, other).float().mean() == pytest.approx(0.2, abs=0.03), "by chance"


@pytest.mark.parametrize(("count", "folds"), [(7, 2), (100, 7), (13, 13)])
def test_folds_differ_by_one_image_at_most(count: int, folds: int) -> None:
    labels = torch.arange(count) % 3
    parts = stratified_folds(labels, folds, 3, make_generator(0, 0))
    for members in (parts, *(parts[labels == label] for label in range(3))):
        sizes = members.bincount(minlength=folds)
        assert sizes.max() - sizes.min() <= 1
    left = count // folds + (count % folds > 0)
    assert int((parts == 0).sum()) == left, "as the schema counts them"


def test_train_size_selects_outside_the_fold(mnist_root: Path) -> None:
    data = MNISTDataModule(str(mnist_root), folds=3, fold=1, train_size=500)
    data.setup("fit")
    assert len(data.train_indices) == 500
    assert not torch.isin(data.train_indices, data.val_indices).any()
    images = torch.cat([batch.images for batch in data.val_dataloader()])
    assert images.equal(data.images.train_images[data.val_indices])
