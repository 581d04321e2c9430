"""Metrics of a trained network on labelled images, clean and corrupted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist, mean
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification

from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.corruptions import CORRUPTIONS, corrupt
from tiny_mnist.evaluation.label_errors import LABEL_ERRORS
from tiny_mnist.evaluation.predict import predict

BINS = 15  # of confidence, equally wide, as in most publications
PASSES = 1 + sum(len(corruption.strengths) for corruption in CORRUPTIONS.values())
"""How often `evaluate` runs the network over all images."""


def score(
    log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> tuple[float, float]:
    """Mean negative log-likelihood in nats, and accuracy in percent."""
    correct = int((log_probs.argmax(dim=1) == labels).sum())
    return float(F.nll_loss(log_probs, labels)), 100 * correct / len(labels)


@dataclass(frozen=True)
class Accuracy:
    """Share of images classified correctly, in percent, with its 95 % Wilson interval."""

    images: int
    correct: int
    percent: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class, in percent."""

    digit: int
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence lies in [low, high); all in percent.

    The last bin includes 100. The means are None when there are no images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Mistake:
    """One misclassified image, by its index from 0; confidences in percent."""

    index: int
    true: int
    read: int
    confidence: float
    true_confidence: float
    known_label_error: bool


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a network on the test images; in percent, except for the loss."""

    accuracy: Accuracy
    accuracy_without_label_errors: Accuracy
    loss: float
    """Mean negative log-likelihood, in nats."""
    calibration_error: float
    """Expected calibration error over the bins of `reliability`."""
    classes: list[ClassMetrics]
    confusion: list[list[int]]
    """Number of images of each true digit (row) predicted as each digit (column)."""
    reliability: list[Bin]
    mistakes: list[Mistake]
    """By decreasing confidence."""
    corruptions: dict[str, dict[float, float]]
    """Accuracy by kind and strength of corruption."""

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
    on_pass: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """Measure a network on the test images, clean and with every corruption.

    Args:
        network: maps normalised images to log-probabilities.
        images: the test images in MNIST's order.
        labels: their digits.
        on_pass: called with a name before each of the `PASSES` passes over the images.

    Raises:
        UserError: the network's outputs are not finite, or have fewer classes than the labels.
    """
    on_pass("test images")
    log_probs = predict(network, images)
    check_log_probs(log_probs, labels)
    bins = reliability(log_probs.exp(), labels)
    corruptions: dict[str, dict[float, float]] = {}
    for kind, corruption in CORRUPTIONS.items():
        corruptions[kind] = {}
        for level, strength in enumerate(corruption.strengths):
            on_pass(f"{kind} {strength:g}")
            corrupted = predict(network, corrupt(images, kind, level))
            corruptions[kind][strength] = score(corrupted, labels)[1]
    sound = torch.ones(len(labels), dtype=torch.bool)
    sound[[index for index in LABEL_ERRORS if index < len(labels)]] = False
    return Evaluation(
        accuracy=accuracy(log_probs, labels),
        accuracy_without_label_errors=accuracy(log_probs[sound], labels[sound]),
        loss=score(log_probs, labels)[0],
        calibration_error=calibration_error(bins),
        classes=class_metrics(log_probs, labels),
        confusion=classification.multiclass_confusion_matrix(
            log_probs, labels, num_classes=log_probs.shape[1]
        ).tolist(),
        reliability=bins,
        mistakes=mistakes(log_probs.exp(), labels, {*LABEL_ERRORS}),
        corruptions=corruptions,
    )


def check_log_probs(log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> None:
    """Check outputs of a network once, before minutes are spent on corrupted images.

    Raises:
        UserError: they are not finite, or there are fewer classes than in the labels.
    """
    if not log_probs.isfinite().all():
        raise UserError("the network outputs NaN or infinite values: its training diverged")
    if int(labels.max()) >= log_probs.shape[1]:
        raise UserError(
            f"the network has {log_probs.shape[1]} classes, and the labels go up to "
            f"{int(labels.max())}"
        )


def accuracy(log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> Accuracy:
    """Accuracy with its interval."""
    correct, images = int((log_probs.argmax(dim=1) == labels).sum()), len(labels)
    return Accuracy(images, correct, 100 * correct / images, wilson_interval(correct, images))


def wilson_interval(correct: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval, in percent, of the probability that gave `correct` of `images`.

    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
    Unlike the normal approximation it stays within 0-100 and holds near 100.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = correct / images, z * z / images
    centre = share + spread / 2
    half = z * sqrt(share * (1 - share) / images + spread / (4 * images))
    low, high = (100 * (centre + side * half) / (1 + spread) for side in (-1, 1))
    return max(low, 0.0), min(high, 100.0)


def class_metrics(
    log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> list[ClassMetrics]:
    """Precision, recall and F1 of every class."""
    classes = log_probs.shape[1]
    columns = [
        (100 * metric(log_probs, labels, num_classes=classes, average="none")).tolist()
        for metric in (
            classification.multiclass_precision,
            classification.multiclass_recall,
            classification.multiclass_f1_score,
        )
    ]
    counts = labels.bincount(minlength=classes).tolist()
    rows = zip(counts, *columns, strict=True)
    return [ClassMetrics(digit, *row) for digit, row in enumerate(rows)]


def reliability(probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> list[Bin]:
    """Mean confidence and accuracy in `BINS` equally wide bins of confidence."""
    confidence, predicted = probs.double().max(dim=1)
    correct = (predicted == labels).double()
    number = (confidence * BINS).long().clamp(max=BINS - 1)
    bins = []
    for index in range(BINS):
        inside = number == index
        images = int(inside.sum())
        means = [100 * float(part[inside].mean()) for part in (confidence, correct)]
        low, high = 100 * index / BINS, 100 * (index + 1) / BINS
        bins.append(Bin(low, high, images, *(means if images else (None, None))))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: mean gap of confidence and accuracy, weighted by images."""
    gaps = (
        each.images * abs(each.confidence - each.accuracy)
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    )
    return sum(gaps) / sum(each.images for each in bins)


def mistakes(
    probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], label_errors: set[int]
) -> list[Mistake]:
    """All misclassified images by decreasing confidence.

    Args:
        probs: predicted probabilities.
        labels: the true digits.
        label_errors: indices of the images whose label is known to be wrong or disputed.
    """
    confidence, predicted = probs.max(dim=1)
    (wrong,) = (predicted != labels).nonzero(as_tuple=True)
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    return [
        Mistake(
            index,
            int(labels[index]),
            int(predicted[index]),
            100 * float(confidence[index]),
            100 * float(probs[index, labels[index]]),
            index in label_errors,
        )
        for index in wrong.tolist()
    ]
