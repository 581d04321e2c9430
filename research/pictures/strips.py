"""Strips of rendered rows and of non-digits, and their texts, from which the row reader learns."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from research.pictures.digits import Shape, font_files, glyphs, load_shapes
from research.pictures.labelled import damage, vary
from research.pictures.non_digits import letter
from research.pictures.numbers import Row, RowDrawing, draw_layers, make_draw, resize_to
from research.pictures.samples import TRAIN_IMAGES, non_digit_shapes
from research.pictures.strokes import Mask
from tiny_mnist.inference.segmentation.components import find_components, find_rows
from tiny_mnist.inference.segmentation.row_reader import draw_strip
from tiny_mnist.inference.segmentation.slant import deslant

CHUNK = 500  # rows that one process renders at a time; a few are lost
SOURCES = ("strokes", "MNIST", "fonts", "fonts")
"""Where the digits of a row come from, each as likely as the others."""
NO_DIGIT = 0.12  # part of the strips that have no digit
LENGTHS = (0.2, 0.16, 0.14, 0.12, 0.1, 0.08, 0.06, 0.05, 0.05, 0.04)
"""Part of the rows that have 1, 2, … digits."""
STYLES = (
    (2.0, Row()),
    (1.0, Row(gap=(0.02, 0.06))),
    (3.0, Row(gap=(-0.1, 0.02))),
    (2.0, Row(gap=(-0.08, 0.0))),
    (1.0, Row(gap=(-0.1, 0.02), slant=(0.1, 0.5))),
    (1.0, Row(gap=(0.03, 0.15), slant=(0.2, 0.5))),
    (1.0, Row(heights=(0.75, 1.15), small=0.35)),
    (1.0, Row(heights=(0.75, 1.15), small=0.2, gap=(-0.08, 0.03))),
    (1.5, Row(separators=True)),
    (0.5, Row(separators=True, slant=(0.1, 0.5))),
    (0.5, Row(gap=(0.35, 0.7))),
)
"""How often a row has a style, and the style."""
HEIGHTS = 16, 80  # pixels: of the digits, before they are drawn as a strip
MAX_BLUR = 0.05  # parts of the height: standard deviation, so that small digits are not lost
INK_LEVEL = 60  # of 255: pixels of a digit have more
MIN_FOUND = 0.6  # part of a digit's pixels that are ink of the row
MARKED = 0.12  # part of the rows that have lines; as many have walls, and as many gaps


class LabelledStrip(NamedTuple):
    """The ink of a row, and the digits that it shows."""

    strip: NDArray[np.uint8]
    text: str


class RenderedInk(NamedTuple):
    """Ink as it is found in a picture, and the digits that it shows."""

    ink: NDArray[np.bool_]
    digits: list[NDArray[np.bool_]]
    """All pixels of each digit, also where its ink is lost; none if it shows no digit."""
    text: str


def render_row(shape: Shape, rng: np.random.Generator) -> RenderedInk:
    """The ink of one to ten digits, some with what is left of printed lines."""
    weights = np.array([weight for weight, _ in STYLES])
    _, style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
    height = int(np.exp(rng.uniform(*np.log(HEIGHTS))))
    digits = rng.integers(10, size=1 + rng.choice(len(LENGTHS), p=LENGTHS))
    draws = [vary(make_draw(shape, int(digit), rng), rng) for digit in digits]
    drawing = draw_layers(draws, style, height, rng)
    for add in (add_lines, add_walls, add_gaps):
        if rng.random() < MARKED:
            add(drawing, height, rng)
    ink = damage(drawing.ink, rng, MAX_BLUR * height)
    layers = [np.pad(layer > INK_LEVEL, 3) for layer in drawing.digits]
    return RenderedInk(np.pad(ink, 3), layers, "".join(map(str, digits)))


def add_lines(drawing: RowDrawing, height: int, rng: np.random.Generator) -> None:
    """Draw pieces of horizontal lines, as are left of ruled paper, in place."""
    columns = np.flatnonzero(drawing.ink.any(axis=0))
    for _ in range(rng.integers(1, 3)):
        y = height * rng.choice([rng.uniform(1.4, 1.65), rng.uniform(0.3, 1.7)])
        left, right = np.sort(rng.uniform(columns[0] - 0.3 * height, columns[-1] + 0.3 * height, 2))
        ends = (round(left), round(y)), (round(right), round(y + rng.normal(0, 0.03) * height))
        thick = max(1, round(height * rng.uniform(0.01, 0.05)))
        cv2.line(drawing.ink, *ends, 255, thick, cv2.LINE_AA)


def add_walls(drawing: RowDrawing, height: int, rng: np.random.Generator) -> None:
    """Draw vertical lines between the digits and beside them, as in the cells of a form."""
    edges = [np.flatnonzero(digit.any(axis=0))[[0, -1]] for digit in drawing.digits]
    middles = [(one[1] + other[0]) / 2 for one, other in pairwise(edges) if one[1] < other[0]]
    margin = height * rng.uniform(0.1, 0.4)
    thick = max(1, round(height * rng.uniform(0.015, 0.06)))
    top, bottom = (round(height * end) for end in rng.uniform((0.1, 1.55), (0.45, 1.9)))
    for x in (edges[0][0] - margin, *middles, edges[-1][1] + margin):
        if rng.random() < 0.8:
            cv2.line(drawing.ink, (round(x), top), (round(x), bottom), 255, thick, cv2.LINE_AA)


def add_gaps(drawing: RowDrawing, height: int, rng: np.random.Generator) -> None:
    """Erase horizontal lines, as where printed ones were taken out, in place."""
    for _ in range(rng.integers(1, 3)):
        y = height * rng.uniform(0.5, 1.5)
        ends = (0, round(y)), (drawing.ink.shape[1], round(y + rng.normal(0, 0.05) * height))
        cv2.line(drawing.ink, *ends, 0, max(1, round(height * rng.uniform(0.02, 0.05))))


def render_non_digit(fonts: list[Path], rng: np.random.Generator) -> RenderedInk:
    """The ink of a letter (a third of all), scribble, corner of a grid, line, separator or blot."""
    letters: list[Callable[[], Mask]] = [lambda: letter(glyphs(fonts), rng)] * 3
    kinds = [*(letters if fonts else []), *non_digit_shapes(rng)]
    mask = kinds[rng.integers(len(kinds))]()
    height = int(np.exp(rng.uniform(np.log(26), np.log(100))))
    return RenderedInk(damage(np.pad(resize_to(mask, height), 4), rng), [], "")


def find_strip(rendered: RenderedInk) -> LabelledStrip | None:
    """The strip of some ink; None unless one row is found that has most of each digit's pixels."""
    ink = rendered.ink
    labels, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    rows = find_rows(parts) if parts else []
    if len(rows) != 1:
        return None
    found = np.isin(labels, [part.label for item in rows[0].parts for part in item])
    if any(found[digit].mean() < MIN_FOUND for digit in rendered.digits):
        return None
    return LabelledStrip(draw_strip(*deslant(labels, rows[0])[:2]), rendered.text)


def render_strips(fonts: Path | None, seed: tuple[int, ...]) -> list[LabelledStrip]:
    """At most `CHUNK` strips: one for each rendered row in which one row is found."""
    rng = np.random.default_rng(seed)
    shapes = load_shapes(fonts, TRAIN_IMAGES)
    names = [name for name in SOURCES if name in shapes]
    files = font_files(fonts) if fonts else []
    found = []
    for _ in range(CHUNK):
        if rng.random() < NO_DIGIT:
            rendered = render_non_digit(files, rng)
        else:
            rendered = render_row(shapes[names[rng.integers(len(names))]], rng)
        strip = find_strip(rendered)
        if strip is not None:
            found.append(strip)
    return found
