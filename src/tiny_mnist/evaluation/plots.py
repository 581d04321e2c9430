"""The pictures of a run folder."""

import math
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tiny_mnist.evaluation.metrics import Bin, wilson_interval
from tiny_mnist.runs.folder import Row
from tiny_mnist.sweeps.ranking import Configuration, shortened
from tiny_mnist.system.atomic_files import whole_file

TRAIN, EVALUATION = "tab:blue", "tab:orange"
DPI = 150
COLUMNS = 10  # images in a row
SAMPLE_ROWS, MISTAKE_ROWS = 2, 2
PANELS = 3  # settings of a sweep in a row
TICKS = 36  # characters below one of them
SEEDS, LEGEND = colormaps["tab10"], 10


def curves(rows: list[Row], split: str) -> Figure:
    """Loss, accuracy and learning rate against the epoch; `split` is what each was evaluated on."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    for name, colour in (("train", TRAIN), (split, EVALUATION)):
        for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
            values = [row.get(f"{name}_{quantity}") for row in rows]
            points = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", ms=4, color=colour, label=name)
    loss.set(title="Loss", ylabel="negative log-likelihood", yscale="log")
    accuracy.set(title="Accuracy", ylabel="%")
    accuracy.margins(y=0.12)  # for the number above the last point
    if final := rows[-1].get(f"{split}_accuracy"):
        accuracy.annotate(
            f"{final:.2f} %", (rows[-1]["epoch"] or 0, final), (0, 6), textcoords="offset points",
            ha="right", color=EVALUATION,
        )  # fmt: skip
    rate.plot(epochs, [row["learning_rate"] for row in rows], "o-", ms=4, color="tab:green")
    rate.set(title="Learning rate at the start of the epoch", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(0.5, (rows[-1]["epoch"] or 0) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    for axes in (loss, accuracy):
        if axes.lines:
            axes.legend()
    return figure


def predictions(
    images: UInt8[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    log_probs: Float[Tensor, "n 10"],
) -> Figure:
    """Sample images with true and predicted digit, then the most confident mistakes."""
    confidence, predicted = log_probs.exp().max(dim=1)
    wrong = predicted != labels
    samples = torch.arange(len(images))[: COLUMNS * SAMPLE_ROWS]
    (mistakes,) = wrong.nonzero(as_tuple=True)
    total = len(mistakes)
    mistakes = mistakes[confidence[mistakes].argsort(descending=True)][: COLUMNS * MISTAKE_ROWS]

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    places = figure.add_gridspec(2, 1)
    above, below = figure.add_subfigure(places[0]), figure.add_subfigure(places[1])
    above.suptitle("The first test images", fontweight="bold")
    below.suptitle(
        f"The most confident of {total:,} mistakes on {len(images):,} test images"
        if total
        else f"No mistake on {len(images):,} test images",
        fontweight="bold",
    )
    parts = ((above, samples, SAMPLE_ROWS), (below, mistakes, MISTAKE_ROWS))
    for part, chosen, rows in parts:
        grid = part.subplots(rows, COLUMNS)
        for axes in grid.flat:
            axes.axis("off")
        for axes, index in zip(grid.flat, chosen.tolist(), strict=False):
            axes.imshow(images[index].cpu().numpy(), cmap="gray_r", vmin=0, vmax=255)
            text = f"true {int(labels[index])}, read {int(predicted[index])}"
            axes.set_title(
                f"{text}\n{100 * float(confidence[index]):.1f} %",
                fontsize=9,
                color="tab:red" if wrong[index] else "black",
            )
    return figure


def confusion_matrix(counts: Int64[Tensor, "10 10"]) -> Figure:
    """How often each true digit (row) was read as each digit (column); mistakes are coloured."""
    right = int(counts.trace())
    total = int(counts.sum())
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axes = figure.subplots()
    mistakes = counts.clone().fill_diagonal_(0)
    axes.imshow(mistakes.cpu().numpy(), cmap="Reds", vmin=0, vmax=max(int(mistakes.max()), 1))
    strongest = int(mistakes.max())
    for true in range(10):
        for read in range(10):
            count = int(counts[true, read])
            if not count:
                continue
            dark = true != read and count > 0.6 * strongest
            axes.text(
                read, true, f"{count:,}", ha="center", va="center", fontsize=8,
                color="white" if dark else "black", fontweight="bold" if true == read else None,
            )  # fmt: skip
    axes.set(
        title=f"{right:,} of {total:,} test images read right",
        xlabel="read as", ylabel="true digit", xticks=range(10), yticks=range(10),
    )  # fmt: skip
    return figure


def sweep(configurations: list[Configuration], split: str) -> Figure:
    """Final accuracy against each setting that differs: a point a run, a line through the means.

    Seeds are told apart by colour. Points above one another on a panel may differ in the settings
    of the other panels; settings that change together share one.
    """
    alike = changing_together(configurations) or {"seed": []}
    keys = list(alike)
    seeds = sorted({seed for each in configurations for seed in each.runs})
    columns = min(len(keys), PANELS)
    rows = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(max(4.2 * columns, 5.5), 3.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes in grid[len(keys) :]:
        axes.axis("off")
    for axes, key in zip(grid, keys, strict=False):
        points = [
            (seed if key == "seed" else each.settings[key], seed, score)
            for each in configurations
            for seed, score in each.scores(split).items()
        ]
        values = list(dict.fromkeys(value for value, _, _ in points))
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        values.sort(key=(lambda value: value) if numeric else str)
        places = [values.index(value) for value, _, _ in points]  # evenly: whatever the scale
        colours = [SEEDS(seeds.index(seed) % SEEDS.N) for _, seed, _ in points]
        axes.scatter(places, [score for *_, score in points], c=colours, s=22, zorder=2)
        if key != "seed":
            means = [mean(score for v, _, score in points if v == value) for value in values]
            axes.plot(range(len(values)), means, "-", color="0.6", zorder=1)
        more = f", and with it {len(alike[key])} more" if alike[key] else ""
        axes.set(xlabel=key + more, xticks=range(len(values)), xmargin=0.15)
        labels = ["–" if value is None else shortened(value) for value in values]
        slant = {"rotation": 30, "ha": "right"} if len("".join(labels)) > TICKS else {}
        axes.set_xticklabels(labels, **slant)
        axes.grid(alpha=0.3)
    figure.supylabel(f"final {'validation' if split == 'val' else split} accuracy (%)", fontsize=10)
    figure.legend(
        handles=[
            Line2D([], [], marker="o", ls="", color=SEEDS(at % SEEDS.N), label=f"seed {seed}")
            for at, seed in enumerate(seeds[:LEGEND])
        ],
        loc="outside lower center",
        ncols=min(len(seeds), 5),
        frameon=False,
        fontsize=8,
    )
    return figure


def changing_together(configurations: list[Configuration]) -> dict[str, list[str]]:
    """The settings that differ, each with those of its group that tell the same runs apart."""
    found: dict[tuple[str | int, ...], list[str]] = {}
    for key in configurations[0].settings:
        values = [each.settings[key] for each in configurations]
        found.setdefault((key.partition(".")[0], *map(values.index, values)), []).append(key)
    # A class says more than the numbers that come with it.
    telling = [
        sorted(keys, key=lambda key: not isinstance(configurations[0].settings[key], str))
        for keys in found.values()
    ]
    return {first: others for first, *others in telling}


def reliability(bins: list[Bin]) -> Figure:
    """Accuracy against confidence, above how many images each bin of confidence holds."""
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot((0, 100), (0, 100), "--", color="gray", lw=1, label="as sure as right")
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


def save(figure: Figure, path: Path) -> UInt8[Tensor, "height width 3"]:
    """Write a picture as PNG, whole or not at all; its red, green and blue, for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    with whole_file(path) as file:
        canvas.print_png(file)
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
