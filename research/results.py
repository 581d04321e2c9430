"""What recipes read wrong, also of harder images: tables and a picture of docs/results.md.

python -m research.results default=FOLDER best=FOLDER …

Each folder holds the finished runs of one recipe. Every run is evaluated once, as by
`tiny-mnist evaluate`: what is in RUN/evaluation/ is used again.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from benchmarks.contestant import PROJECT
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from tiny_mnist.comparison.grouping import find_runs
from tiny_mnist.data import download
from tiny_mnist.evaluation import plots
from tiny_mnist.evaluation.metrics import evaluate, loss_and_accuracy
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.evaluation.report import EvaluationFiles
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.metadata import collect_provenance
from tiny_mnist.runs.network import load_network
from tiny_mnist.system.memory import tune_malloc

IMAGES = PROJECT / "docs" / "images"
MAX_COLUMNS, MAX_ROWS = 9, 12  # of the picture of mistakes


@dataclass(frozen=True)
class Recipe:
    """All runs of one recipe: their summaries and evaluations, by ascending seed."""

    name: str
    summaries: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    ensemble: float
    """Test accuracy of the mean of all runs' probabilities, percent."""

    def values(self, *keys: str) -> list[float]:
        """One figure of each evaluation, by its path."""
        found = []
        for evaluation in self.evaluations:
            node: Any = evaluation
            for key in keys:
                node = node[key]
            found.append(float(node))
        return found


def load_recipe(name: str, folder: Path) -> Recipe:
    """The runs below a folder, evaluating those that are not yet."""
    mnist = download.load_dataset(download.default_root())
    runs = sorted(find_runs([folder]), key=lambda run: int(RunFolder(run).read_summary()["seed"]))
    total = torch.zeros(len(mnist.test_labels), 10)
    for run in track(runs, f"Evaluating {name}", console=Console(stderr=True)):
        files = EvaluationFiles(run / "evaluation")
        network = load_network(run)
        total += predict(network, mnist.test_images, mnist.info).exp()
        if not files.numbers.exists():
            found = evaluate(network, mnist.test_images, mnist.test_labels, mnist.info)
            files.folder.mkdir(exist_ok=True)
            files.write(found, mnist.test_images, collect_provenance(RunFolder(run), network))
    evaluations = [
        json.loads(EvaluationFiles(run / "evaluation").numbers.read_text()) for run in runs
    ]
    _, ensemble = loss_and_accuracy(total, mnist.test_labels)
    return Recipe(name, [RunFolder(run).read_summary() for run in runs], evaluations, ensemble)


def format_spread(values: list[float], digits: int = 2) -> str:
    """Mean ± sample deviation."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def format_markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def ensemble_table(recipes: list[Recipe]) -> str:
    """What all runs of a recipe answer together: not one network any more."""
    header = ["all runs of", "networks", "parameters", "accuracy of their mean probabilities, %"]
    rows = [
        [
            recipe.name,
            str(len(recipe.summaries)),
            f"{sum(summary['parameters'] for summary in recipe.summaries):,}",
            f"{recipe.ensemble:.2f}",
        ]
        for recipe in recipes
    ]
    return format_markdown(header, rows)


def closer_table(recipes: list[Recipe]) -> str:
    """Beyond the accuracy: a column a recipe, mean ± deviation over its runs."""
    measures: dict[str, tuple[tuple[str, ...], int]] = {
        "accuracy without the 15 known label errors, %": (
            ("accuracy_without_label_errors", "percent"),
            3,
        ),
        "loss": (("loss",), 4),
        "calibration error, points": (("calibration_error",), 2),
        "accuracy on corrupted images, mean of all, %": (("corrupted_accuracy",), 2),
    }
    rows = [
        [name, *(format_spread(recipe.values(*keys), digits) for recipe in recipes)]
        for name, (keys, digits) in measures.items()
    ]
    for kind, strengths in recipes[0].evaluations[0]["corruptions"].items():
        strongest = list(strengths)[-1]
        rows.append(
            [
                f"… {kind}, strongest ({float(strongest):g})",
                *(
                    format_spread(recipe.values("corruptions", kind, strongest))
                    for recipe in recipes
                ),
            ]
        )
    return format_markdown(["", *(recipe.name for recipe in recipes)], rows)


def digit_table(recipes: list[Recipe]) -> str:
    """Mean number of images of each digit that a run reads wrong."""
    rows = [
        [
            recipe.name,
            *(
                f"{mean(count_wrong(evaluation, digit) for evaluation in recipe.evaluations):.1f}"
                for digit in range(10)
            ),
        ]
        for recipe in recipes
    ]
    return format_markdown(["wrong, of digit", *map(str, range(10))], rows)


def count_wrong(evaluation: dict[str, Any], digit: int) -> int:
    """How many images of a digit were read wrong."""
    row: list[int] = evaluation["confusion"][digit]
    return sum(row) - row[digit]


def mistakes_picture(recipes: list[Recipe]) -> Figure:
    """The test images that most runs read wrong, the most often wrong first, as far as they fit."""
    runs = [evaluation for recipe in recipes for evaluation in recipe.evaluations]
    read_as: dict[int, Counter[int]] = {}
    about: dict[int, dict[str, Any]] = {}
    for evaluation in runs:
        for mistake in evaluation["mistakes"]:
            read_as.setdefault(mistake["index"], Counter())[mistake["read"]] += 1
            about[mistake["index"]] = mistake
    count = {index: readings.total() for index, readings in read_as.items()}
    chosen = sorted((i for i in count if 2 * count[i] > len(runs)), key=lambda i: (-count[i], i))
    images = download.load_dataset(download.default_root()).test_images
    rows = min(max(1, -(-len(chosen) // MAX_COLUMNS)), MAX_ROWS)
    figure = Figure(figsize=(1.45 * MAX_COLUMNS, 1.9 * rows + 0.5), layout="constrained")
    figure.suptitle(
        f"{len(chosen)} test images that most of {len(runs)} runs read wrong "
        "(red: label known to be wrong or undecidable)"
    )
    grid = list(figure.subplots(rows, MAX_COLUMNS, squeeze=False).flat)
    for axes in grid:
        axes.axis("off")
    for axes, index in zip(grid, chosen, strict=False):
        axes.imshow(images[index].numpy(), cmap="gray_r", vmin=0, vmax=255)
        most = read_as[index].most_common(1)[0][0]
        axes.set_title(
            f"{index}: label {about[index]['true']},\nread {most}; {count[index]} of {len(runs)}",
            fontsize=8, color="tab:red" if about[index]["known_label_error"] else "black",
        )  # fmt: skip
    return figure


def main() -> None:
    """Evaluate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where the pictures go")
    options = parser.parse_args()
    tune_malloc()
    pairs = [given.partition("=") for given in options.recipes]
    recipes = [load_recipe(name, Path(folder)) for name, _, folder in pairs]
    for table in (ensemble_table, closer_table, digit_table):
        print(table(recipes))
    plots.save_png(mistakes_picture(recipes), options.images / "mistakes.png")


if __name__ == "__main__":
    main()
