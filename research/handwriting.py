"""How well pictures from outside MNIST are read, by kind, with a contact sheet of the failures.

python -m research.handwriting --each 60 --seed 0 --fonts FOLDER --failures failures.png

Shapes: own strokes, MNIST's *training* digits from the 50,000th on, and fonts (files below FOLDER,
such as npm's @fontsource packages). Scikit-learn's 8×8 digits are real and read as they are.
MNIST's test images are not used.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from research.pictures.digits import Shape, font_files, glyphs, load_shapes, real_8x8
from research.pictures.non_digits import blank, blurred, grid_corner, ignore_width, letter, scribble
from research.pictures.numbers import NUMBER_SCENES, make_draw, number_picture
from research.pictures.scenes import SCENES, photo, scan
from research.pictures.strokes import Mask
from research.pictures.symbols import font_symbol, separator
from tiny_mnist.errors import UserError
from tiny_mnist.inference.contact_sheet import draw_cell, save_contact_sheet
from tiny_mnist.inference.image_io import LoadedImage, to_rgb
from tiny_mnist.inference.predictor import (
    MIN_CONFIDENCE,
    MIN_RELIABILITY,
    ImagePrediction,
    predict_images,
    pretrained_network,
    run_network,
)

NOTHING = ("blank", "letter", "scribble", "grid corner", "blurred")
"""Kinds of pictures without a digit, or with one that is hard to read."""


class Item(NamedTuple):
    """One picture to be read."""

    kind: str
    expected: str
    """The text; empty where there is no digit."""
    picture: Image.Image


class Result(NamedTuple):
    """What was made of a picture."""

    item: Item
    prediction: ImagePrediction

    @property
    def right(self) -> bool:
        """Whether the text is right; of `NOTHING`, also whether no digit is claimed."""
        if self.item.kind in NOTHING and self.prediction.status in ("no digit", "unsure"):
            return True
        return self.prediction.text == self.item.expected

    @property
    def unsure(self) -> bool:
        """Whether the prediction says so."""
        return self.prediction.status == "unsure"


def render_items(
    each: int, seed: int, shapes: dict[str, Shape], fonts: Path | None
) -> Iterator[Item]:
    """So many pictures of each kind; each kind has its own random numbers."""
    kinds = [*SCENES, *NUMBER_SCENES, *NOTHING, "8×8, real"]
    names = list(shapes)
    files = font_files(fonts) if fonts else []
    symbols = partial(font_symbol, files) if files else separator
    marks: dict[str, Callable[[np.random.Generator], Mask]] = {
        "letter": partial(letter, glyphs(files)),
        "scribble": scribble,
        "grid corner": grid_corner,
    }
    for place, kind in enumerate(kinds):
        rng = np.random.default_rng([seed, place])
        if kind == "8×8, real":
            images, labels = real_8x8()
            for index in rng.choice(len(images), 5 * each, replace=False):
                yield Item(kind, str(labels[index]), Image.fromarray(images[index]))
            continue
        if kind == "letter" and not files:
            continue
        for number in range(each):
            draw = make_draw(shapes[names[rng.integers(len(names))]], number % 10, rng)
            if kind in SCENES:
                yield Item(kind, str(number % 10), SCENES[kind](draw, rng))
            elif kind in NUMBER_SCENES:
                yield Item(kind, *number_picture(NUMBER_SCENES[kind], shapes, rng, symbols))
            elif kind == "blank":
                yield Item(kind, "", blank(rng))
            elif kind == "blurred":
                yield Item(kind, str(number % 10), blurred(draw, rng))
            else:
                carrier = photo if number % 2 else scan
                yield Item(kind, "", carrier(partial(ignore_width, marks[kind](rng)), rng))


def summary_table(results: list[Result]) -> Table:
    """Pictures read right, unsure and confidently wrong, by kind."""
    table = Table("kind", "pictures", "right", "%", "right, unsure", "wrong, unsure", "wrong")
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.item.kind].append(result)
    for title, kinds in (
        ("all photographs", [k for k in SCENES if k.startswith("photo")]),
        ("all with one digit", [*SCENES, "8×8, real"]),
        ("all numbers", list(NUMBER_SCENES)),
        ("all without digits", list(NOTHING)),
    ):
        groups[title] = [result for result in results if result.item.kind in kinds]
    for kind, group in groups.items():
        good = [result for result in group if result.right]
        bad = [result for result in group if not result.right]
        sure = [result for result in bad if not result.unsure]
        examples = ", ".join(
            f"{result.item.expected or '–'} as {result.prediction.text or '–'}".replace("\n", "/")
            for result in sure[:3]
        )
        table.add_row(
            kind,
            str(len(group)),
            str(len(good)),
            f"{100 * len(good) / max(1, len(group)):.1f}",
            str(sum(result.unsure for result in good)),
            str(len(bad) - len(sure)),
            examples if group and kind not in ("all numbers", "all with one digit") else "",
        )
    return table


def calibration_table(results: list[Result]) -> Table:
    """Mean confidence and part of right texts, by confidence."""
    table = Table("confidence", "pictures", "mean confidence", "right")
    read = [r for r in results if r.prediction.digits and r.item.kind not in NOTHING]
    edges = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0001]
    for low, high in pairwise(edges):
        part = [r for r in read if low <= r.prediction.confidence < high]
        if part:
            mean = np.mean([r.prediction.confidence for r in part])
            right = np.mean([r.right for r in part])
            table.add_row(
                f"{low:.2f} to {min(high, 1):.2f}", str(len(part)), f"{mean:.3f}", f"{right:.3f}"
            )
    return table


def operating_points_table(results: list[Result]) -> Table:
    """What part of the predictions would be unsure below several confidences.

    Those that are less reliable than `MIN_RELIABILITY` always are.
    """
    table = Table("threshold", "right, unsure, %", "wrong, unsure, %", "non-digits, unsure, %")
    groups: dict[str, list[float]] = {"right": [], "wrong": [], "none": []}
    for result in results:
        if result.prediction.digits:
            correct = result.prediction.text == result.item.expected
            nothing = result.item.kind in NOTHING and not correct
            name = "none" if nothing else "right" if correct else "wrong"
            is_reliable = result.prediction.reliability >= MIN_RELIABILITY
            groups[name].append(result.prediction.confidence * is_reliable)
    for threshold in sorted({0.01, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, MIN_CONFIDENCE}):
        parts = [
            100 * float(np.mean(np.array(group or [1]) < threshold)) for group in groups.values()
        ]
        name = f"{threshold:.2f}{' (used)' if threshold == MIN_CONFIDENCE else ''}"
        table.add_row(name, *(f"{part:.1f}" for part in parts))
    return table


def main() -> None:
    """Render, read and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--failures", type=Path, help="where to save the contact sheet")
    parser.add_argument("--run", type=Path, help="a run folder; default: the shipped network")
    options = parser.parse_args()
    try:
        network = run_network(options.run) if options.run else pretrained_network()
        shapes = load_shapes(options.fonts)
    except UserError as error:
        sys.exit(f"error: {error}")
    rendered: list[Item] = []

    def open_items() -> Iterator[tuple[str, partial[LoadedImage]]]:
        for item in render_items(options.each, options.seed, shapes, options.fonts):
            rendered.append(item._replace(picture=Image.new("1", (1, 1))))
            yield item.kind, partial(LoadedImage, to_rgb(item.picture))

    results: list[Result] = []
    failures = []
    for place, prediction in enumerate(predict_images(open_items(), network, keep_pictures=True)):
        result = Result(rendered[place], prediction)
        if not result.right:
            failures.append(draw_cell(prediction))
        results.append(result._replace(prediction=prediction._replace(picture=None)))
    console = Console(width=130)
    console.print(summary_table(results))
    console.print(calibration_table(results))
    console.print(operating_points_table(results))
    if options.failures and failures:
        save_contact_sheet(failures, options.failures)


if __name__ == "__main__":
    main()
