"""The files of `tiny-mnist evaluate`: `evaluation.json`, and `report.html` with all figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor, tensor

from tiny_mnist.evaluation import plots
from tiny_mnist.evaluation.corruptions import CORRUPTIONS, corrupt
from tiny_mnist.evaluation.metrics import Accuracy, Evaluation
from tiny_mnist.evaluation.pages import data_url, jinja_environment, png_url
from tiny_mnist.system.atomic_files import write_json, write_text

EXAMPLE = 4  # index of the test image that shows each corruption, if there are so many


@dataclass(frozen=True)
class EvaluationFiles:
    """The two files of an evaluation, in one folder."""

    folder: Path

    @property
    def numbers(self) -> Path:
        """All metrics as JSON."""
        return self.folder / "evaluation.json"

    @property
    def page(self) -> Path:
        """The same as one HTML page that loads nothing else."""
        return self.folder / "report.html"

    def write(
        self,
        evaluation: Evaluation,
        images: UInt8[Tensor, "n 28 28"],
        provenance: dict[str, Any],
    ) -> None:
        """Write both files, each atomically, into a folder that exists.

        Args:
            evaluation: the metrics.
            images: the test images.
            provenance: plain values by name, of which one is `run`.

        Raises:
            OSError: the folder cannot be written.
        """
        write_json(self.numbers, {"provenance": provenance, **evaluation.to_json()})
        write_text(self.page, render_page(evaluation, images, provenance))


def render_page(
    evaluation: Evaluation, images: UInt8[Tensor, "n 28 28"], provenance: dict[str, Any]
) -> str:
    """The report as HTML. Text from the run folder, which may be a stranger's, is escaped."""
    names = evaluation.class_names
    example = images[: EXAMPLE + 1][-1:]
    template = jinja_environment("tiny_mnist.evaluation").get_template("report.html")
    return template.render(
        title="Evaluation",
        run=provenance["run"],
        evaluation=evaluation,
        interval=format_interval,
        names=names,
        confusion=svg_url(plots.plot_confusion_matrix(tensor(evaluation.confusion), names)),
        reliability=svg_url(plots.plot_reliability(evaluation.reliability)),
        corruptions=[
            {
                "kind": kind,
                "unit": CORRUPTIONS[kind].unit,
                "cells": [
                    {
                        "strength": strength,
                        "accuracy": accuracy,
                        "image": png_url(corrupt(example, kind, level)[0]),
                    }
                    for level, (strength, accuracy) in enumerate(accuracies.items())
                ],
            }
            for kind, accuracies in evaluation.corruptions.items()
        ],
        mistakes=[
            (mistake, png_url(255 - images[mistake.index])) for mistake in evaluation.mistakes
        ],
        provenance=provenance,
    )


def format_interval(accuracy: Accuracy) -> str:
    """Both ends of the interval, in percent."""
    low, high = accuracy.interval
    return f"{low:.2f}–{high:.2f}"


def svg_url(figure: Figure) -> str:
    """A figure as SVG in a `data:` URL."""
    return data_url("image/svg+xml", FigureCanvasSVG(figure).print_svg)


def format_summary(evaluation: Evaluation) -> list[str]:
    """Lines for the terminal: accuracy, that without label errors, loss and calibration."""
    whole, sound = evaluation.accuracy, evaluation.accuracy_without_label_errors
    lines = [
        f"{whole.percent:.2f} % of the {whole.images:,} test images read right, "
        f"95 % interval {format_interval(whole)}; {len(evaluation.mistakes):,} wrong"
    ]
    if sound:
        lines.append(
            f"{sound.percent:.2f} % without the {whole.images - sound.images} images whose label "
            f"is known to be wrong or undecidable, interval {format_interval(sound)}"
        )
    calibration = f"expected calibration error {evaluation.calibration_error:.2f} %"
    return [*lines, f"loss {evaluation.loss:.6f}, {calibration}"]


def corruption_table(evaluation: Evaluation) -> Table:
    """Accuracy by kind and strength of corruption, with the mean below, for the terminal."""
    mean = f"Mean over kinds and strengths: {evaluation.corrupted_accuracy:.2f} %"
    table = Table(box=None, pad_edge=False, caption=mean, caption_justify="left", caption_style="")
    table.add_column("Accuracy (%) with")
    for strength in ("weak", "medium", "strong"):
        table.add_column(strength, justify="right")
    table.add_column("strengths, in")
    for kind, accuracies in evaluation.corruptions.items():
        strengths = ", ".join(f"{strength:g}" for strength in accuracies)
        cells = (f"{accuracy:.2f}" for accuracy in accuracies.values())
        table.add_row(kind, *cells, f"{strengths} {CORRUPTIONS[kind].unit}")
    return table
