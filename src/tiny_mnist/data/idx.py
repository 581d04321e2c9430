"""Any four IDX files of 28×28 grey images: training and test images, each with labels.

Number of classes, mean and standard deviation are those of the training files.
"""

import gzip
import logging
import math
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor

from tiny_mnist.data.datasets import MNIST, DatasetInfo
from tiny_mnist.errors import DataError, one_line
from tiny_mnist.system.processes import is_rank_zero

log = logging.getLogger(__name__)

ROLES = {
    f"{split}_{content}": re.compile(
        rf"(.*[-_.])?({words})[-_.]{content}[-_.]idx{dimensions}[-_.]ubyte(\.gz)?"
    )
    for split, words in (("train", "train"), ("test", "t10k|test"))
    for content, dimensions in (("images", 3), ("labels", 1))
}
"""Names of the four files; `.gz` files are unpacked."""
UNSIGNED_BYTES = 8  # the third byte of an IDX file


class LabelledImages(NamedTuple):
    """All images of a dataset, with pixels 0–255, and their labels."""

    train_images: UInt8[Tensor, "train 28 28"]
    train_labels: Int64[Tensor, " train"]
    test_images: UInt8[Tensor, "test 28 28"]
    test_labels: Int64[Tensor, " test"]
    info: DatasetInfo

    def to(self, device: torch.device) -> "LabelledImages":
        """A copy on another device."""
        return self._replace(
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def load_idx(root: Path) -> LabelledImages:
    """Read the images of a folder; nothing tells whether they are the right ones.

    Args:
        root: a folder with four files whose names match `ROLES`.

    Raises:
        DataError: a file is absent or no IDX file, images are not of 28×28 pixels, images and
            labels differ in number, or labels are not 0 to n - 1.
    """
    paths = {role: find_file(root, role) for role in ROLES}
    images, labels = {}, {}
    for split in ("train", "test"):
        image_path, label_path = paths[f"{split}_images"], paths[f"{split}_labels"]
        images[split], labels[split] = read_idx(image_path), read_idx(label_path)
        shape = images[split].shape
        if shape[1:] != (28, 28) or not shape[0]:
            raise DataError(
                f"{image_path} holds {'×'.join(map(str, shape))} values; images of 28×28 grey "
                "pixels are needed: resize them before they are written"
            )
        if labels[split].shape != shape[:1]:
            raise DataError(
                f"{image_path} holds {shape[0]} images, and {label_path} "
                f"{'×'.join(map(str, labels[split].shape))} labels"
            )
    num_classes = check_labels(labels["train"], labels["test"], paths)
    mean, std = mean_and_std(images["train"])
    if not std:
        raise DataError(f"all pixels of {paths['train_images']} are equal: nothing can be learnt")
    if is_rank_zero():
        log.warning(
            "%s: %s training and %s test images of %s classes, used as they are: no checksum is "
            "known for them",
            root, len(labels["train"]), len(labels["test"]), num_classes,
        )  # fmt: skip
    info = DatasetInfo(root.resolve().name, tuple(map(str, range(num_classes))), mean, std)
    return LabelledImages(
        torch.from_numpy(images["train"].copy()),
        torch.from_numpy(labels["train"].astype(np.int64)),
        torch.from_numpy(images["test"].copy()),
        torch.from_numpy(labels["test"].astype(np.int64)),
        info,
    )


def find_file(root: Path, role: str) -> Path:
    """The one file of a role.

    Raises:
        DataError: there is none, or there are several.
    """
    if not root.is_dir():
        raise DataError(f"the data folder {root.resolve()} does not exist; correct data.root")
    found = sorted(each for each in root.iterdir() if ROLES[role].fullmatch(each.name))
    if len(found) != 1 or not found[0].is_file():
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{root.resolve()} should hold one file of {role.replace('_', ' ')}, named as "
            f"{getattr(MNIST, role).name}, with .gz or without: found {names}"
        )
    return found[0]


def read_idx(path: Path) -> UInt8[ndarray, "..."]:
    """Read one file of unsigned bytes.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error
    try:
        return parse_idx(content)
    except ValueError as error:
        raise DataError(f"{path} {error}") from error


def parse_idx(content: bytes) -> UInt8[ndarray, "..."]:
    """The values in the content of an IDX file, as a view of it.

    Raises:
        ValueError: it is no IDX file of unsigned bytes; the message is a predicate of the file.
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise ValueError("is not an IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) != start + math.prod(sizes):
        raise ValueError(
            f"has {len(content):,} bytes; its header announces "
            f"{'×'.join(map(str, sizes))} values, which need {start + math.prod(sizes):,}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def check_labels(
    train: UInt8[ndarray, " train"], test: UInt8[ndarray, " test"], paths: dict[str, Path]
) -> int:
    """Check that training labels are exactly 0 to n - 1 and that test labels are among them.

    Returns:
        n, the number of classes.

    Raises:
        DataError: they are not.
    """
    present = np.unique(train)
    num_classes = len(present)
    if num_classes < 2 or int(present[-1]) != num_classes - 1:
        labels = ", ".join(map(str, present[:12])) + (", …" if num_classes > 12 else "")
        raise DataError(
            f"the labels in {paths['train_labels']} should be 0 to n - 1, each at least once, of 2 "
            f"classes or more; they are {labels}"
        )
    if int(test.max()) >= num_classes:
        raise DataError(
            f"{paths['test_labels']} has the label {int(test.max())}, and the training images have "
            f"{num_classes} classes, 0 to {num_classes - 1}"
        )
    return num_classes


def mean_and_std(images: UInt8[ndarray, "n 28 28"]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels on the 0–1 scale, to four digits."""
    counts = np.bincount(images.ravel(), minlength=256)
    shares, values = counts / counts.sum(), np.arange(256) / 255
    mean = float(shares @ values)
    return round(mean, 4), round(math.sqrt(float(shares @ (values - mean) ** 2)), 4)
