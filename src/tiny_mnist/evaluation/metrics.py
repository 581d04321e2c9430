"""Metrics of a trained network on labelled images, clean and corrupted."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist, mean
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification

from tiny_mnist.data.datasets import MNIST, DatasetInfo
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.corruptions import CORRUPTIONS, corrupt
from tiny_mnist.evaluation.label_errors import LABEL_ERRORS
from tiny_mnist.evaluation.predict import predict

NUM_BINS = 15  # of confidence, equally wide (C. Guo and others, On calibration, 2017)
PASSES = 1 + sum(len(corruption.strengths) for corruption in CORRUPTIONS.values())
"""How often `evaluate` runs the network over all images."""


def loss_and_accuracy(
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

    label: int
    name: str
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
    known_label_error: bool | None
    """None where no label errors of the dataset are known."""


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a network on the test images; in percent, except for the loss."""

    dataset: str
    accuracy: Accuracy
    accuracy_without_label_errors: Accuracy | None
    """None where no label errors of the dataset are known."""
    loss: float
    """Mean negative log-likelihood, in nats."""
    calibration_error: float
    """Expected calibration error over the bins of `reliability`."""
    classes: list[ClassMetrics]
    confusion: list[list[int]]
    """Number of images of each true class (row) predicted as each class (column)."""
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
        """Plain values for `evaluation.json`, without what the dataset does not have."""
        values = asdict(self) | {"corrupted_accuracy": self.corrupted_accuracy}
        if self.accuracy_without_label_errors is None:
            del values["accuracy_without_label_errors"]
            for mistake in values["mistakes"]:
                del mistake["known_label_error"]
        return values

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, by label."""
        return [row.name for row in self.classes]


def evaluate(
    network: nn.Module,
    images: UInt8[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    info: DatasetInfo,
    on_pass: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """Measure a network on the test images, clean and with every corruption.

    Args:
        network: maps normalised images to log-probabilities.
        images: the test images in the dataset's order.
        labels: the classes of the images.
        info: the dataset of the images, on which the network was trained.
        on_pass: a function that is called with a name before each of the `PASSES` passes over the
            images.

    Raises:
        UserError: the network's outputs are not finite, or have other classes than the dataset.
    """
    on_pass("test images")
    log_probs = predict(network, images, info)
    check_log_probs(log_probs, info.num_classes)
    bins = bin_by_confidence(log_probs.exp(), labels)
    corruptions: dict[str, dict[float, float]] = {}
    for kind, corruption in CORRUPTIONS.items():
        corruptions[kind] = {}
        for level, strength in enumerate(corruption.strengths):
            on_pass(f"{kind} {strength:g}")
            corrupted = predict(network, corrupt(images, kind, level), info)
            corruptions[kind][strength] = loss_and_accuracy(corrupted, labels)[1]
    label_errors = {*LABEL_ERRORS} if info == MNIST.info else None
    return Evaluation(
        dataset=info.name,
        accuracy=measure_accuracy(log_probs, labels),
        accuracy_without_label_errors=measure_accuracy_without(label_errors, log_probs, labels),
        loss=loss_and_accuracy(log_probs, labels)[0],
        calibration_error=calibration_error(bins),
        classes=measure_classes(log_probs, labels, info.class_names),
        confusion=classification.multiclass_confusion_matrix(
            log_probs, labels, num_classes=log_probs.shape[1]
        ).tolist(),
        reliability=bins,
        mistakes=find_mistakes(log_probs.exp(), labels, label_errors),
        corruptions=corruptions,
    )


def check_log_probs(log_probs: Float[Tensor, "n classes"], num_classes: int) -> None:
    """Check outputs of a network once, before minutes are spent on corrupted images.

    Raises:
        UserError: they are not finite, or not one for each class.
    """
    if not log_probs.isfinite().all():
        raise UserError("the network outputs NaN or infinite values: its training diverged")
    if log_probs.shape[1] != num_classes:
        raise UserError(
            f"the network has {log_probs.shape[1]} classes, and the images {num_classes}"
        )


def measure_accuracy(
    log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Accuracy:
    """Accuracy with its interval."""
    correct, images = int((log_probs.argmax(dim=1) == labels).sum()), len(labels)
    return Accuracy(images, correct, 100 * correct / images, wilson_interval(correct, images))


def measure_accuracy_without(
    excluded: set[int] | None, log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Accuracy | None:
    """Accuracy without the images of some indices; None where none are known."""
    if excluded is None:
        return None
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[[index for index in excluded if index < len(labels)]] = False
    return measure_accuracy(log_probs[kept], labels[kept])


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """95 % confidence interval, in percent, of the probability that gave `correct` of `images`.

    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
    Unlike the normal approximation it stays within 0-100 and holds near 100.
    """
    z = NormalDist().inv_cdf(0.975)
    share, spread = correct / images, z * z / images
    centre = share + spread / 2
    half = z * sqrt(share * (1 - share) / images + spread / (4 * images))
    low, high = (100 * (centre + side * half) / (1 + spread) for side in (-1, 1))
    return max(low, 0.0), min(high, 100.0)


def measure_classes(
    log_probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], names: Sequence[str]
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
    rows = zip(names, counts, *columns, strict=True)
    return [ClassMetrics(label, *row) for label, row in enumerate(rows)]


def bin_by_confidence(probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> list[Bin]:
    """Mean confidence and accuracy in `NUM_BINS` equally wide bins of confidence."""
    confidence, predicted = probs.double().max(dim=1)
    correct = (predicted == labels).double()
    number = (confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    bins = []
    for index in range(NUM_BINS):
        inside = number == index
        images = int(inside.sum())
        means = [100 * float(part[inside].mean()) for part in (confidence, correct)]
        low, high = 100 * index / NUM_BINS, 100 * (index + 1) / NUM_BINS
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


def find_mistakes(
    probs: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], label_errors: set[int] | None
) -> list[Mistake]:
    """All misclassified images by decreasing confidence.

    Args:
        probs: the predicted probabilities.
        labels: the true classes.
        label_errors: the indices of the images whose label is known to be wrong or disputed; None
            where nothing is known.
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
            None if label_errors is None else index in label_errors,
        )
        for index in wrong.tolist()
    ]
