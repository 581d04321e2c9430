"""What every export format provides: how to encode a network and how its file is checked."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from tiny_mnist.data.datasets import DIGITS, DatasetInfo
from tiny_mnist.data.idx import LabelledImages


def describe_input(info: DatasetInfo) -> str:
    """What a file takes and gives, for its metadata."""
    return (
        f"images: uint8 [batch, 28, 28], grey 0 to 255, light {subject(info)} on dark as in "
        f"{info.name}; normalisation is inside. log_probs: float32 [batch, {info.num_classes}], "
        f"natural logarithms of the probabilities of {outputs(info)}."
    )


def subject(info: DatasetInfo) -> str:
    """What an image shows."""
    return "digit" if info.class_names == DIGITS else "object"


def outputs(info: DatasetInfo) -> str:
    """What the outputs of a network are about."""
    names = ", ".join(info.class_names)
    return "the digits 0-9" if info.class_names == DIGITS else f"the classes {names}"


class CheckUnavailableError(Exception):
    """A written file cannot be checked on this machine; the message says what is missing."""


RELATIVE = 1e-5
"""Of the largest log-probability of an image, from which all of its others are computed: those of a
network that is hardly trained can be in the hundreds, where 32 bits have steps of 3e-5."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file's outputs may differ from the reference."""

    log_probs: float = inf
    """Largest difference of a log-probability, to which `RELATIVE` is added."""
    agreement: float = 0.0
    """Percent of the test images that must be read as the same class."""
    accuracy: float = inf
    """Percentage points between the test accuracies of the file and of the reference."""


@dataclass(frozen=True)
class ExportedFile:
    """The content of a file, and how to check it."""

    content: bytes
    read_back: Callable[[Path, Tensor], Tensor]
    """Log-probabilities [n, classes] of the written file for raw images [n, 28, 28]; may raise
    `CheckUnavailableError`."""
    tolerance: Tolerance
    reference: Float[Tensor, "n classes"] | None = None
    """Log-probabilities that the file's outputs are compared with; None: PyTorch's."""
    reference_name: str = "PyTorch"


@dataclass(frozen=True)
class Format:
    """A file format by its default file name and its encoder."""

    file_name: str
    encode: Callable[[nn.Module, LabelledImages, dict[str, str]], ExportedFile]
    """Takes the network in evaluation mode, all images, and the metadata of the file."""
    mnist_only: bool = False
    """Whether the file is about MNIST's ten digits, and no other classes."""
