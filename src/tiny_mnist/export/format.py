"""What every export format provides: how to encode a network and how its file is checked."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from tiny_mnist.data.idx import LabelledImages

INPUT_TEXT = (
    "images: uint8 [batch, 28, 28], grey 0 (paper) to 255 (ink), light digit on dark as in MNIST; "
    "normalisation is inside. log_probs: float32 [batch, 10], natural logarithms of the "
    "probabilities of the digits 0-9."
)


class CheckUnavailableError(Exception):
    """A written file cannot be checked on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file's outputs may differ from the reference."""

    log_probs: float = inf
    """Largest difference of a log-probability."""
    agreement: float = 0.0
    """Percent of the test images that must be read as the same digit."""
    accuracy: float = inf
    """Percentage points between the test accuracies of the file and of PyTorch."""


@dataclass(frozen=True)
class ExportedFile:
    """The content of a file, and how to check it."""

    content: bytes
    read_back: Callable[[Path, Tensor], Tensor]
    """Log-probabilities [n, 10] of the written file for raw images [n, 28, 28]; may raise
    `CheckUnavailableError`."""
    tolerance: Tolerance
    reference: Float[Tensor, "n 10"] | None = None
    """Log-probabilities that the file's digits are compared with; None: PyTorch's."""
    reference_name: str = "PyTorch"


@dataclass(frozen=True)
class Format:
    """A file format by its default file name and its encoder."""

    file_name: str
    encode: Callable[[nn.Module, LabelledImages, dict[str, str]], ExportedFile]
    """Takes the network in evaluation mode, MNIST, and the metadata of the file."""
