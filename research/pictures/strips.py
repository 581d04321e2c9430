"""Strips of rendered rows and of non-digits, and their texts, from which the row reader learns."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from research.pictures.digits import Shape, font_files, glyphs, load_shapes
from research.pictures.labelled import damage, vary
from research.pictures.non_digits import letter
from research.pictures.numbers import Row, draw_layers, make_draw, resize_to
from research.pictures.samples import TRAIN_IMAGES, non_digit_shapes
from research.pictures.strokes import Mask
from research.pictures.symbols import font_symbol, separator
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
    (1.5, Row(heights=(0.8, 1.35), jump=0.12)),
    (1.0, Row(heights=(0.8, 1.35), jump=0.12, gap=(-0.08, 0.03))),
    (1.5, Row(separators=True)),
    (0.5, Row(separators=True, slant=(0.1, 0.5))),
    (3.0, Row(separators=True, affixes=True)),
    (1.0, Row(gap=(0.35, 0.8))),
)
"""How often a row has a style, and the style. Separators before and after a row are of fonts."""


class LabelledStrip(NamedTuple):
    """The ink of a row, and the digits that it shows."""

    strip: NDArray[np.uint8]
    text: str


def render_row(
    shape: Shape, fonts: list[Path], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], str]:
    """The ink of one to ten digits, and their text."""
    weights = np.array([weight for weight, _ in STYLES])
    _, style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
    height = int(np.exp(rng.uniform(np.log(26), np.log(80))))
    digits = rng.integers(10, size=1 + rng.choice(len(LENGTHS), p=LENGTHS))
    draws = [vary(make_draw(shape, int(digit), rng), rng) for digit in digits]
    symbols = partial(font_symbol, fonts) if fonts else separator
    ink = damage(draw_layers(draws, style, height, rng, symbols).ink, rng)
    return np.pad(ink, 3), "".join(map(str, digits))


def render_non_digit(fonts: list[Path], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The ink of a letter (a third of all), scribble, corner of a grid, line, separator or blot."""
    letters: list[Callable[[], Mask]] = [lambda: letter(glyphs(fonts), rng)] * 3
    kinds = [*(letters if fonts else []), *non_digit_shapes(rng)]
    mask = kinds[rng.integers(len(kinds))]()
    height = int(np.exp(rng.uniform(np.log(26), np.log(100))))
    return damage(np.pad(resize_to(mask, height), 4), rng)


def find_strips(ink: NDArray[np.bool_]) -> list[NDArray[np.uint8]]:
    """A strip for each row that is found in some ink."""
    labels, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    return [draw_strip(*deslant(labels, row)[:2]) for row in find_rows(parts)] if parts else []


def render_strips(fonts: Path | None, seed: tuple[int, ...]) -> list[LabelledStrip]:
    """At most `CHUNK` strips: one for each rendered row in which one row is found."""
    rng = np.random.default_rng(seed)
    shapes = load_shapes(fonts, TRAIN_IMAGES)
    names = [name for name in SOURCES if name in shapes]
    files = font_files(fonts) if fonts else []
    rendered = []
    for _ in range(CHUNK):
        if rng.random() < NO_DIGIT:
            ink, text = render_non_digit(files, rng), ""
        else:
            ink, text = render_row(shapes[names[rng.integers(len(names))]], files, rng)
        strips = find_strips(ink)
        if len(strips) == 1:
            rendered.append(LabelledStrip(strips[0], text))
    return rendered
