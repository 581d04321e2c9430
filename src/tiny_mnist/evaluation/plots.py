"""Figures of predictions, confusion and reliability, for run folders and the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from tiny_mnist.data.transforms import SIDE
from tiny_mnist.evaluation.metrics import Bin, wilson_interval
from tiny_mnist.system.atomic_files import atomic_write

TRAIN, EVALUATION = "tab:blue", "tab:orange"
MAX_SHORT_NAME = 3  # characters of a class name, of which two stand on one line
# The grid of images in `plot_predictions`. A cell is an image and the text above it, in pixels.
COLUMNS, SAMPLE_ROWS, MISTAKE_ROWS = 10, 2, 2
CELL_WIDTH, CELL_HEIGHT = 33, 46


def plot_predictions(
    images: UInt8[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    log_probs: Float[Tensor, "n classes"],
    names: Sequence[str],
) -> Figure:
    """Plot the first test images and the most confident mistakes, with true and predicted class."""
    confidence, predicted = log_probs.exp().max(dim=1)
    wrong = predicted != labels
    samples = torch.arange(len(images))[: COLUMNS * SAMPLE_ROWS]
    (mistakes,) = wrong.nonzero(as_tuple=True)
    total = len(mistakes)
    mistakes = mistakes[confidence[mistakes].argsort(descending=True)][: COLUMNS * MISTAKE_ROWS]

    figure = Figure(figsize=(12, 7.4))
    # Two axes at fixed places: a pair of axes for each image would take a second to lay out.
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.97, hspace=0.06)
    above, below = figure.subplots(2, 1)
    above.set_title("The first test images", fontweight="bold")
    below.set_title(
        f"The most confident of {total:,} mistakes on {len(images):,} test images"
        if total
        else f"No mistake on {len(images):,} test images",
        fontweight="bold",
    )
    between = " " if max(map(len, names)) <= MAX_SHORT_NAME else "\n"
    parts = ((above, samples, SAMPLE_ROWS), (below, mistakes, MISTAKE_ROWS))
    for axes, chosen, rows in parts:
        for place, index in enumerate(chosen.tolist()):
            left, top = CELL_WIDTH * (place % COLUMNS), CELL_HEIGHT * (place // COLUMNS)
            axes.imshow(
                images[index].cpu().numpy(), cmap="gray_r", vmin=0, vmax=255,
                extent=(left, left + SIDE, top + SIDE, top),
            )  # fmt: skip
            true, read = names[int(labels[index])], names[int(predicted[index])]
            axes.text(
                left + SIDE / 2, top - 1,
                f"true {true},{between}read {read}\n{100 * float(confidence[index]):.1f} %",
                fontsize=9, ha="center", va="bottom",
                color="tab:red" if wrong[index] else "black",
            )  # fmt: skip
        top = -12 if between == " " else -19  # of two lines of text, or three
        axes.set(
            xlim=(SIDE - CELL_WIDTH, CELL_WIDTH * COLUMNS), ylim=(CELL_HEIGHT * rows - 16, top)
        )
        axes.axis("off")
    return figure


def plot_confusion_matrix(counts: Int64[Tensor, "classes classes"], names: Sequence[str]) -> Figure:
    """Plot the number of images of each true class (row) read as each class (column)."""
    correct, total, classes = int(counts.trace()), int(counts.sum()), range(len(counts))
    side = max(6, 0.42 * len(names))
    long_names = max(map(len, names)) > MAX_SHORT_NAME
    figure = Figure(figsize=(side + 0.4, side), layout="constrained" if long_names else None)
    if not long_names:  # a layout that is computed takes a second
        figure.subplots_adjust(left=0.08, right=0.99, bottom=0.08, top=0.94)
    axes = figure.subplots()
    mistakes = counts.clone().fill_diagonal_(0)
    axes.imshow(mistakes.cpu().numpy(), cmap="Reds", vmin=0, vmax=max(int(mistakes.max()), 1))
    strongest = int(mistakes.max())
    for true in classes:
        for read in classes:
            count = int(counts[true, read])
            if not count:
                continue
            dark = true != read and count > 0.6 * strongest
            axes.text(
                read, true, f"{count:,}", ha="center", va="center", fontsize=8,
                color="white" if dark else "black", fontweight="bold" if true == read else None,
            )  # fmt: skip
    axes.set(
        title=f"{correct:,} of {total:,} test images read right",
        xlabel="read as", ylabel="true class", xticks=classes, yticks=classes, yticklabels=names,
    )  # fmt: skip
    if long_names:
        axes.set_xticklabels(names, rotation=30, ha="right")
    else:
        axes.set_xticklabels(names)
    return figure


def plot_reliability(bins: list[Bin]) -> Figure:
    """Plot accuracy against confidence, above a histogram of the confidence."""
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot((0, 100), (0, 100), "--", color="gray", lw=1, label="perfectly calibrated")
    filled = [b for b in bins if b.confidence is not None and b.accuracy is not None]
    confidences = np.array([b.confidence for b in filled])
    accuracies = np.array([b.accuracy for b in filled])
    ends = [wilson_interval(round(b.images * (b.accuracy or 0) / 100), b.images) for b in filled]
    spans = np.abs(np.array(ends).T - accuracies)
    axes.errorbar(confidences, accuracies, spans, fmt="o", color=EVALUATION, ecolor="gray", lw=1)
    axes.set(ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 102), title="Confidence and accuracy")
    axes.legend(loc="upper left")
    below.bar(
        [b.low for b in bins], [b.images for b in bins], bins[0].high - bins[0].low,
        align="edge", color=TRAIN, edgecolor="white",
    )  # fmt: skip
    below.set(xlabel="confidence (%)", ylabel="images", yscale="log")
    for part in (axes, below):
        part.grid(alpha=0.3)
        part.set_axisbelow(True)
    return figure


def save_png(figure: Figure, path: Path) -> UInt8[Tensor, "height width 3"]:
    """Write a figure as PNG, atomically.

    Returns:
        Its red, green and blue values, for TensorBoard.
    """
    canvas = FigureCanvasAgg(figure)
    with atomic_write(path) as file:
        canvas.print_png(file)
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
