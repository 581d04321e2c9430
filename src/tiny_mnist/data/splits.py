"""Which training images are held out, stratified by class."""

import torch
from jaxtyping import Int64
from torch import Tensor

from tiny_mnist.errors import UserError


def check_sizes(count: int, val_size: int, train_size: int | None, folds: int | None) -> None:
    """Check that there are images to train on, as many as asked for.

    Raises:
        UserError: there are not.
    """
    left = count - (-(-count // folds) if folds else val_size)
    if left < 2 or (train_size or 0) > left or (folds or 0) > count:
        sizes = {"val_size": val_size, "train_size": train_size, "folds": folds}
        asked = " ".join(f"data.{key}={size}" for key, size in sizes.items() if size)
        hint = "; hold fewer out with data.val_size=…" if val_size else ""
        raise UserError(f"there are {count:,} training images: too few for {asked}{hint}")


def stratified_folds(
    labels: Int64[Tensor, " all"], folds: int, num_classes: int, generator: torch.Generator
) -> Int64[Tensor, " all"]:
    """Deal the images out to folds, class by class.

    The sizes of the folds differ by one image at most, and so do the images of each class in them.

    Returns:
        The fold of each image, from 0.
    """
    order = []
    for label in range(num_classes):
        (members,) = (labels == label).nonzero(as_tuple=True)
        order.append(members[torch.randperm(len(members), generator=generator)])
    parts = torch.empty_like(labels)
    parts[torch.cat(order)] = torch.arange(len(labels)) % folds
    return parts


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
