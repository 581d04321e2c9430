"""What a trained network answers for a set of images, and how good that is."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist, mean
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_mnist.data.loaders import EVALUATION_BATCH
from tiny_mnist.data.transforms import normalize

BINS = 15  # of confidence, all equally wide: the number of the literature


@torch.inference_mode()
def predict(network: nn.Module, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
    """Log-probabilities for raw images, on the device of the network, in evaluation mode."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    answers = [network(normalize(part.to(device))).cpu() for part in images.split(EVALUATION_BATCH)]
    network.train(was_training)
    return torch.cat(answers)


def score(log_probs: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"]) -> tuple[float, float]:
    """Mean negative log-likelihood, and accuracy in percent."""
    correct = int((log_probs.argmax(dim=1) == labels).sum())
    return float(F.nll_loss(log_probs, labels)), 100 * correct / len(labels)


@dataclass(frozen=True)
class Accuracy:
    """A share of images read right, with its uncertainty from their number; percent."""

    images: int
    correct: int
    percent: float
    interval: tuple[float, float]
    """The 95 % Wilson interval."""


@dataclass(frozen=True)
class ClassFigures:
    """How well one digit is read; percent."""

    digit: int
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in one range; percent, means None where there are none."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Mistake:
    """A test image that was read wrong, by its index from 0; confidences in percent."""

    index: int
    true: int
    read: int
    confidence: float
    true_confidence: float
    known_label_error: bool


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a network's answers for the test images; percent but for the loss."""

    accuracy: Accuracy
    accuracy_without_label_errors: Accuracy
    loss: float
    """Mean negative log-likelihood, in nats."""
    calibration_error: float
    """Mean distance of confidence and accuracy over the bins, weighted by their images."""
    classes: list[ClassFigures]
    confusion: list[list[int]]
    """Images of each true digit (row) read as each digit (column)."""
    reliability: list[Bin]
    mistakes: list[Mistake]
    """The most confident first."""
    corruptions: dict[str, dict[float, float]]
    """Accuracy by kind and strength."""

    @property
    def corrupted_accuracy(self) -> float:
        """Mean accuracy over all kinds and strengths of corruption."""
        return mean(value for kind in self.corruptions.values() for value in kind.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for `evaluation.json`."""
        return asdict(self) | {"corrupted_accuracy": self.corrupted_accuracy}


def evaluate(
    network: nn.Module,
    images: UInt8[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    advance: Callable[[str], None] = lambda step: None,
) -> Evaluation:
    """Look at the test images as they are, then corrupted in each way.

    Args:
        network: raw images normalised to log-probabilities.
        images: the test images in MNIST's order.
        labels: their digits.
        advance: told what comes next before each of `steps()` passes over the images.
    """
    from torchmetrics.functional import classification as metrics

    from tiny_mnist.evaluation.corruptions import CORRUPTIONS, corrupt
    from tiny_mnist.evaluation.label_errors import LABEL_ERRORS

    advance("test images")
    log_probs = predict(network, images)
    probs = log_probs.exp()
    precision, recall, f1 = (
        (100 * measure(log_probs, labels, num_classes=10, average="none")).tolist()
        for measure in (
            metrics.multiclass_precision, metrics.multiclass_recall, metrics.multiclass_f1_score,
        )
    )  # fmt: skip
    counts = labels.bincount(minlength=10).tolist()
    corruptions: dict[str, dict[float, float]] = {}
    for kind, corruption in CORRUPTIONS.items():
        corruptions[kind] = {}
        for level, strength in enumerate(corruption.strengths):
            advance(f"{kind} {strength:g}")
            answers = predict(network, corrupt(images, kind, level))
            corruptions[kind][strength] = score(answers, labels)[1]
    sound = torch.ones(len(labels), dtype=torch.bool)
    sound[[index for index in LABEL_ERRORS if index < len(labels)]] = False
    return Evaluation(
        accuracy=accuracy(log_probs, labels),
        accuracy_without_label_errors=accuracy(log_probs[sound], labels[sound]),
        loss=score(log_probs, labels)[0],
        calibration_error=100
        * float(metrics.multiclass_calibration_error(probs, labels, num_classes=10, n_bins=BINS)),
        classes=[
            ClassFigures(digit, *row)
            for digit, row in enumerate(zip(counts, precision, recall, f1, strict=True))
        ],
        confusion=metrics.multiclass_confusion_matrix(log_probs, labels, num_classes=10).tolist(),
        reliability=reliability(probs, labels),
        mistakes=mistakes(probs, labels, {*LABEL_ERRORS}),
        corruptions=corruptions,
    )


def steps() -> int:
    """How many passes over the test images `evaluate` makes."""
    from tiny_mnist.evaluation.corruptions import CORRUPTIONS

    return 1 + sum(len(corruption.strengths) for corruption in CORRUPTIONS.values())


def accuracy(log_probs: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"]) -> Accuracy:
    """Accuracy with its interval."""
    correct, images = int((log_probs.argmax(dim=1) == labels).sum()), len(labels)
    return Accuracy(images, correct, 100 * correct / images, wilson_interval(correct, images))


def wilson_interval(correct: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """Where the true share lies, in percent, that gave `correct` of `images`.

    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927:
    unlike the usual ± it stays within 0–100 and holds near 100.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = correct / images, z * z / images
    centre = share + spread / 2
    half = z * sqrt(share * (1 - share) / images + spread / (4 * images))
    low, high = (100 * (centre + side * half) / (1 + spread) for side in (-1, 1))
    return max(low, 0.0), min(high, 100.0)


def reliability(probs: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"]) -> list[Bin]:
    """Confidence against accuracy, in `BINS` ranges of confidence."""
    confidence, read = probs.max(dim=1)
    right = (read == labels).float()
    number = (confidence * BINS).long().clamp(max=BINS - 1)
    bins = []
    for index in range(BINS):
        inside = number == index
        images = int(inside.sum())
        means = [100 * float(part[inside].mean()) for part in (confidence, right)] if images else []
        bins.append(
            Bin(100 * index / BINS, 100 * (index + 1) / BINS, images, *means or (None,) * 2)
        )
    return bins


def mistakes(
    probs: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"], label_errors: set[int]
) -> list[Mistake]:
    """All images read wrong, the most confident first."""
    confidence, read = probs.max(dim=1)
    (wrong,) = (read != labels).nonzero(as_tuple=True)
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    return [
        Mistake(
            index,
            int(labels[index]),
            int(read[index]),
            100 * float(confidence[index]),
            100 * float(probs[index, labels[index]]),
            index in label_errors,
        )
        for index in wrong.tolist()
    ]
