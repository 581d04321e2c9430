"""Export a trained network as one file for other programs: write, read back, compare."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.metrics import loss_and_accuracy
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.export import c, html, onnx_format, safetensors_format
from tiny_mnist.export.format import (
    RELATIVE,
    CheckUnavailableError,
    ExportedFile,
    Format,
    describe_input,
)
from tiny_mnist.system.atomic_files import atomic_write

FORMATS = {
    "onnx": Format("tiny-mnist.onnx", onnx_format.encode),
    "onnx-int8": Format("tiny-mnist-int8.onnx", onnx_format.encode_int8),
    "safetensors": Format("tiny-mnist.safetensors", safetensors_format.encode),
    "html": Format("tiny-mnist.html", html.encode, mnist_only=True),
    "c": Format("tiny-mnist.c", c.encode, mnist_only=True),
}
READ_ALIKE = 99.9  # percent; below it the user is warned
ACCURACY_ALIKE = 0.05  # percentage points; above it the user is warned


@dataclass(frozen=True)
class Comparison:
    """What a written file makes of the test images, beside the reference."""

    largest_difference: float
    """Largest difference of a log-probability from that of the reference."""
    agreement: float
    """Percent of the images that the file and the reference read as the same class."""
    accuracy: float
    """Percent of the images that the file reads right."""
    torch_accuracy: float
    """Percent of the images that PyTorch reads right."""
    reference: str
    """Name of the reference for `largest_difference` and `agreement`."""
    reference_accuracy: float
    """Percent of the images that the reference reads right."""

    def describe(self) -> list[str]:
        """Lines for the user."""
        lines = [
            f"{self.accuracy:.2f} % of the test images read right, PyTorch "
            f"{self.torch_accuracy:.2f} %; {self.agreement:.2f} % read like {self.reference}",
            f"Largest difference of a log-probability: {self.largest_difference:.2g}",
        ]
        if self.agreement < READ_ALIKE:
            lines.append(
                f"warning: less than {READ_ALIKE} % of the test images are read alike; measure "
                "whether that is enough before you use the file"
            )
        if abs(self.reference_accuracy - self.torch_accuracy) > ACCURACY_ALIKE:
            lines.append(
                f"warning: {self.reference}, whose numbers this file has, reads "
                f"{self.reference_accuracy:.2f} % of the test images right, and PyTorch "
                f"{self.torch_accuracy:.2f} %; measure whether that is enough before you use the "
                "file"
            )
        return lines


@dataclass(frozen=True)
class Unchecked:
    """A file was written whose check needs a program that this machine does not have."""

    reason: str

    def describe(self) -> list[str]:
        """One line for the user."""
        return [f"warning: not compared with PyTorch: {self.reason}"]


def export(
    network: nn.Module,
    path: Path,
    data: LabelledImages,
    provenance: dict[str, str | int | float],
    file_format: Format,
) -> Comparison | Unchecked:
    """Write a network to a file, read it back and compare; on a mismatch nothing is written.

    Args:
        network: a network in evaluation mode.
        path: the file; an existing one is replaced only by one that has passed.
        data: test images to compare on; training images to calibrate eight bits with.
        provenance: goes into the metadata of the file.
        file_format: one of `FORMATS`.

    Raises:
        UserError: a package is not installed, the format does not support the data or a layer of
            the network, or the file gives other results than the network.
        OSError: the file cannot be written.
    """
    if file_format.mnist_only and data.info != MNIST.info:
        raise UserError(
            f"{file_format.file_name} is about handwritten digits, and the run was trained on "
            f"{data.info.name}: --format onnx and safetensors take any data"
        )
    expected = predict(network, data.test_images, data.info)
    metadata = {
        **{key: str(value) for key, value in provenance.items()},
        # Of the float network; the accuracy of an eight-bit file is in its comparison.
        "test_accuracy": f"{loss_and_accuracy(expected, data.test_labels)[1]:.2f} %",
        "description": describe_input(data.info),
    }
    encoded = file_format.encode(network, data, metadata)
    with atomic_write(path) as file:
        file.write(encoded.content)
        file.flush()
        try:
            outputs = encoded.read_back(Path(file.name), data.test_images)
        except CheckUnavailableError as error:
            return Unchecked(str(error))
        comparison = compare(outputs, expected, data.test_labels, encoded)
        reference = expected if encoded.reference is None else encoded.reference
        if not (
            are_close(outputs, reference, encoded.tolerance.log_probs)
            and within_tolerance(comparison, encoded)
        ):
            raise UserError(
                f"{path} is not written: its results differ from those of "
                f"{comparison.reference} (largest difference {comparison.largest_difference:.2g}, "
                f"{comparison.agreement:.2f} % of the test images read alike, accuracy "
                f"{comparison.accuracy:.2f} % instead of {comparison.reference_accuracy:.2f} %)"
            )
    return comparison


def compare(
    outputs: Float[Tensor, "n classes"],
    expected: Float[Tensor, "n classes"],
    labels: Int64[Tensor, " n"],
    encoded: ExportedFile,
) -> Comparison:
    """Compare the log-probabilities of a file with PyTorch's, or with the file's own reference."""
    reference = expected if encoded.reference is None else encoded.reference
    return Comparison(
        # NaN counts as infinitely different.
        float((outputs - reference).abs().nan_to_num(nan=torch.inf).max()),
        100 * float((outputs.argmax(dim=1) == reference.argmax(dim=1)).double().mean()),
        loss_and_accuracy(outputs, labels)[1],
        loss_and_accuracy(expected, labels)[1],
        encoded.reference_name,
        loss_and_accuracy(reference, labels)[1],
    )


def within_tolerance(comparison: Comparison, encoded: ExportedFile) -> bool:
    """Whether classes and accuracy stay within the tolerance of the format."""
    tolerance = encoded.tolerance
    difference = abs(comparison.accuracy - comparison.reference_accuracy)
    return comparison.agreement >= tolerance.agreement and difference <= tolerance.accuracy + 1e-9


def are_close(
    outputs: Float[Tensor, "n classes"], reference: Float[Tensor, "n classes"], tolerance: float
) -> bool:
    """Whether log-probabilities are equal but for rounding.

    They may differ by `tolerance` plus `RELATIVE` of the largest of an image. NaN is no match.
    """
    if tolerance == inf:
        return True
    sizes = reference.abs().amax(dim=1, keepdim=True)
    return bool(((outputs - reference).abs() <= tolerance + RELATIVE * sizes).all())
