"""Test accuracies of recipes over their seeds: the table and the picture of docs/results.md.

    python -m research.accuracies [NAME=FOLDER …]

Each folder holds the finished runs of one recipe. Their accuracies are kept in
research/test_accuracies.jsonl, one line a recipe, so that the picture can be drawn again without
the runs. A name that is in the file already is replaced.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.contestant import PROJECT
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from research.results import IMAGES, format_markdown, format_spread
from tiny_mnist.comparison.grouping import find_runs
from tiny_mnist.evaluation import plots
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.atomic_files import write_text

ACCURACIES = PROJECT / "research" / "test_accuracies.jsonl"


@dataclass(frozen=True)
class Published:
    """A network that others have measured: parameters, mean accuracy in percent, its deviation."""

    name: str
    parameters: int
    accuracy: float
    deviation: float | None = None


PUBLISHED = (
    Published("the original, one run", 9_594, 99.64),
    Published("BitNetMCU, one run", 33_000, 99.55),
    Published("An et al., C1", 269_524, 99.58, 0.04),
    Published("An et al., M3", 1_124_180, 99.699, 0.032),
)
"""An et al. 2020: 30 seeds, last of 150 epochs."""
COURSEWORK = (6_700, 10_000), (99.50, 99.60)
"""Parameters and accuracies of course projects of this kind: single runs, the best published."""


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies after the last epoch of the runs of one recipe, by ascending seed."""

    recipe: str
    epochs: int
    parameters: int
    seeds: list[int]
    accuracies: list[float]
    """Test accuracy of each run, in percent."""
    device: str
    torch: str


def collect(recipe: str, folder: Path) -> Accuracies:
    """The summaries of all finished runs below a folder."""
    summaries: list[dict[str, Any]] = sorted(
        (RunFolder(run).read_summary() for run in find_runs([folder])),
        key=lambda summary: int(summary["seed"]),
    )
    first = summaries[0]
    return Accuracies(
        recipe,
        first["epochs"],
        first["parameters"],
        [summary["seed"] for summary in summaries],
        [summary["test_accuracy"] for summary in summaries],
        first["device"],
        first["packages"]["torch"],
    )


def read_accuracies(file: Path) -> list[Accuracies]:
    """All recipes of the file; none if it does not exist."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Accuracies(**json.loads(line)) for line in lines]


def write_accuracies(recipes: list[Accuracies], path: Path) -> None:
    """Write the file anew, the shortest recipes first."""
    lines = [json.dumps(asdict(recipe)) for recipe in sorted(recipes, key=lambda r: r.epochs)]
    write_text(path, "\n".join(lines) + "\n")


def format_table(recipes: list[Accuracies]) -> str:
    """A row a recipe."""
    header = ["recipe", "epochs", "runs", "mean ± deviation, %", "least", "by seed, %"]
    rows = [
        [
            recipe.recipe,
            str(recipe.epochs),
            str(len(recipe.seeds)),
            f"**{format_spread(recipe.accuracies, 3)}**",
            f"{min(recipe.accuracies):.2f}",
            ", ".join(f"{value:.2f}" for value in recipe.accuracies),
        ]
        for recipe in recipes
    ]
    return format_markdown(header, rows)


def draw_figure(recipes: list[Accuracies]) -> Figure:
    """Accuracy against parameters, with what others published; and against the epochs here."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    by_parameters, by_epochs = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.1))
    (left, right), (low, high) = COURSEWORK
    by_parameters.fill_between((left, right), low, high, color="0.88")
    by_parameters.text(
        0.97 * left, (low + high) / 2, "course\nprojects,\none run\neach",
        color="0.35", fontsize=8, ha="right", va="center",
    )  # fmt: skip
    for other in PUBLISHED:
        by_parameters.errorbar(
            other.parameters, other.accuracy, other.deviation, fmt="D", color="0.35"
        )
        last = other is PUBLISHED[-1]
        by_parameters.annotate(
            f"{other.name}: {other.accuracy:g} %", (other.parameters, other.accuracy),
            (-8 if last else 8, 10 if other.deviation else -14), textcoords="offset points",
            color="0.35", fontsize=9, ha="right" if last else "left",
        )  # fmt: skip
    for place, recipe in enumerate(recipes):
        colour = to_hex(colormaps["tab20"](place))  # ten colours, each in two shades
        draw_recipe(by_parameters, recipe, recipe.parameters, colour)
        draw_recipe(by_epochs, recipe, recipe.epochs, colour)
    original = PUBLISHED[0]
    by_epochs.plot(10, original.accuracy, "D", color="0.35")
    by_parameters.set(
        xscale="log", xlim=(2.5e3, 2e6), xlabel="parameters",
        ylabel="test accuracy after the last epoch (%)",
    )  # fmt: skip
    epochs = sorted({recipe.epochs for recipe in recipes})
    by_epochs.set(xscale="log", xlim=(0.7, 600), xlabel="epochs, all with 9,594 parameters")
    by_epochs.set_xticks(epochs, [str(number) for number in epochs], minor=False)
    by_epochs.minorticks_off()
    by_epochs.legend(loc="lower right", title="a dot a run; ± over seeds", fontsize=8)
    for axes in (by_parameters, by_epochs):
        axes.margins(y=0.08)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def draw_recipe(axes: Axes, recipe: Accuracies, x: float, colour: str) -> None:
    """Every run of a recipe as a dot, and their mean with its deviation."""
    values = recipe.accuracies
    count = f"{len(values)} seeds" if len(values) > 1 else "one seed"
    axes.scatter([x] * len(values), values, s=14, color=colour, alpha=0.45, linewidths=0)
    axes.errorbar(
        x, mean(values), stdev(values) if len(values) > 1 else None, fmt="o", capsize=5,
        color=colour, ms=8, mfc="none",
        label=f"{recipe.recipe}: {format_spread(values)} % over {count}",
    )  # fmt: skip


def main() -> None:
    """Add the recipes of the command line to the file, print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("recipes", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where the picture goes")
    parser.add_argument("--file", type=Path, default=ACCURACIES, help="where accuracies are kept")
    options = parser.parse_args()
    found = {recipe.recipe: recipe for recipe in read_accuracies(options.file)}
    for given in options.recipes:
        name, _, folder = given.partition("=")
        found[name] = collect(name, Path(folder))
    write_accuracies(list(found.values()), options.file)
    recipes = read_accuracies(options.file)
    print(format_table(recipes))
    plots.save_png(draw_figure(recipes), options.images / "accuracy.png")


if __name__ == "__main__":
    main()
