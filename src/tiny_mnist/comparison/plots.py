"""The plot of a sweep."""

import math
from statistics import mean
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tiny_mnist.comparison.grouping import Repeat, RunGroup, format_value, group_covarying_settings

MAX_COLUMNS = 3  # of panels, one for each setting
MAX_LABEL_CHARACTERS = 36  # below one panel, until its labels are slanted
MAX_LEGEND_SEEDS = 10
SEED_COLORS = colormaps["tab10"]


def plot_sweep(configurations: list[RunGroup], split: str) -> Figure:
    """Plot final accuracy against each setting that differs: a point a run, a line for the means.

    If no setting differs, the x-axis is the fold or the seed. The colour of a point is its seed.
    Points above one another on a panel may differ in the settings of the other panels; settings
    that change together share a panel.
    """
    alike = group_covarying_settings([each.settings for each in configurations])
    if not alike:
        alike = {"data.fold" if configurations[0].folds else "seed": []}
    keys = list(alike)
    seeds = sorted({seed for each in configurations for seed in each.seeds})
    columns = min(len(keys), MAX_COLUMNS)
    rows = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(max(4.2 * columns, 5.5), 3.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes in grid[len(keys) :]:
        axes.axis("off")
    for axes, key in zip(grid, keys, strict=False):
        points = [
            (value_of(key, repeat, each), repeat.seed, score)
            for each in configurations
            for repeat, score in each.scores(split).items()
        ]
        values = list(dict.fromkeys(value for value, _, _ in points))
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        values.sort(key=(lambda value: value) if numeric else str)
        places = [values.index(value) for value, _, _ in points]  # evenly: whatever the scale
        colours = [SEED_COLORS(seeds.index(seed) % SEED_COLORS.N) for _, seed, _ in points]
        axes.scatter(places, [score for *_, score in points], c=colours, s=22, zorder=2)
        if key != "seed":
            means = [mean(score for v, _, score in points if v == value) for value in values]
            axes.plot(range(len(values)), means, "-", color="0.6", zorder=1)
        more = f", and with it {len(alike[key])} more" if alike[key] else ""
        axes.set(xlabel=key + more, xticks=range(len(values)), xmargin=0.15)
        labels = ["–" if value is None else format_value(value) for value in values]
        slant = (
            {"rotation": 30, "ha": "right"} if len("".join(labels)) > MAX_LABEL_CHARACTERS else {}
        )
        axes.set_xticklabels(labels, **slant)
        axes.grid(alpha=0.3)
    figure.supylabel(f"final {'validation' if split == 'val' else split} accuracy (%)", fontsize=10)
    figure.legend(
        handles=[
            Line2D(
                [],
                [],
                marker="o",
                ls="",
                color=SEED_COLORS(at % SEED_COLORS.N),
                label=f"seed {seed}",
            )
            for at, seed in enumerate(seeds[:MAX_LEGEND_SEEDS])
        ],
        loc="outside lower center",
        ncols=min(len(seeds), 5),
        frameon=False,
        fontsize=8,
    )
    return figure


def value_of(key: str, repeat: Repeat, group: RunGroup) -> Any:
    """The x-value of a run on the panel of a setting."""
    if key == "seed":
        return repeat.seed
    if key == "data.fold":
        return repeat.fold and repeat.fold.number
    return group.settings[key]
