"""Images of digits and of everything else, from which the verifier learns."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from research.pictures.digits import Shape, font_files, glyphs, load_shapes
from research.pictures.labelled import (
    MIN_INK,
    damage,
    find_scene_pieces,
    lone_digit,
    render_rows,
    vary,
)
from research.pictures.non_digits import grid_corner, ignore_width, letter, line, scribble
from research.pictures.numbers import resize_to
from research.pictures.scenes import SCENES
from research.pictures.strokes import Mask, crop_to_ink, strokes
from research.pictures.symbols import separator
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.inference.segmentation.division import OTHER

TRAIN_IMAGES = slice(0, 50_000)
CHUNK = 60  # rows or pictures that one process renders at a time
FROM_PICTURE = 2, 4  # digits and other pieces taken from a picture
MAX_BAR_ASPECT = 0.5  # width / height up to which other pieces of a picture are left out
SCENE_NAMES = [
    name
    for name in SCENES
    if name.startswith(("photo", "scan")) and name not in ("photo, table", "photo, cut out")
]
"""Of those that show more than the digit, the ones that can be rendered without it."""

Sample = tuple[NDArray[np.bool_], int]
"""Ink and class."""


Sampler = Callable[[Shape, list[Path], np.random.Generator], Iterator[Sample]]
"""From a source of digits and fonts of letters, what one row or picture contributes."""


def sample_row(shape: Shape, fonts: list[Path], rng: np.random.Generator) -> Iterator[Sample]:
    """The digits of a row, about as many other runs of its pieces, digits alone, non-digits."""
    found = [
        one
        for row in render_rows(shape, rng)
        for one in row.candidates
        if one.mask.sum() >= MIN_INK
    ]
    digits = [one for one in found if 0 <= one.label < OTHER]
    others = [one for one in found if one.label == OTHER]
    kept = rng.permutation(len(others))[: 2 + round(1.2 * len(digits))]
    for one in [*digits, *(others[index] for index in kept)]:
        yield one.mask, one.label
    for digit in rng.integers(10, size=3):
        yield lone_digit(shape, int(digit), rng), int(digit)
    yield from sample_non_digits(fonts, rng)


def sample_picture(shape: Shape, _: list[Path], rng: np.random.Generator) -> Iterator[Sample]:
    """Some of what is found in a picture of one digit, without bars: a 1 has their shape."""
    scene = SCENES[SCENE_NAMES[rng.integers(len(SCENE_NAMES))]]
    digit = int(rng.integers(10))
    pieces = list(find_scene_pieces(scene, shape, digit, rng))
    digits = [one for one in pieces if one[1] == digit]
    others = [one for one in pieces if one[1] == OTHER and not is_bar(one[0])]
    for group, most in zip((digits, others), FROM_PICTURE, strict=True):
        for index in rng.permutation(len(group))[:most]:
            yield group[index]


def is_bar(mask: NDArray[np.bool_]) -> bool:
    """Whether ink, cropped to its box, is as narrow as a 1."""
    rows, columns = mask.shape
    return bool(columns <= MAX_BAR_ASPECT * rows)


def sample_non_digits(fonts: list[Path], rng: np.random.Generator) -> Iterator[Sample]:
    """Some letters, scribbles, corners of grids, separators, blurs and blots."""
    kinds = non_digit_shapes(rng)
    for place in rng.choice(len(kinds), 2, replace=False):
        yield rescale(kinds[place](), rng), OTHER
    for _ in range(2 if fonts else 0):
        mask = letter(glyphs(fonts), rng)
        yield rescale(vary(partial(ignore_width, mask), rng)(0), rng), OTHER


def non_digit_shapes(rng: np.random.Generator) -> list[Callable[[], Mask]]:
    """What draws a scribble, a corner of a grid, a line, a separator, a blot and a blur."""
    return [
        partial(scribble, rng),
        partial(grid_corner, rng),
        partial(line, rng),
        lambda: separator(80, rng.uniform(0.05, 0.1), rng)[0],
        partial(blot, rng),
        lambda: blur(strokes(int(rng.integers(10)), rng.uniform(0.05, 0.1), rng), rng),
    ]


def rescale(mask: Mask, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The ink of a shape in any resolution."""
    return damage(np.pad(resize_to(mask, int(rng.uniform(25, 100))), 4), rng)


def blot(rng: np.random.Generator) -> Mask:
    """A random blob."""
    field = cv2.GaussianBlur(rng.standard_normal((80, 80)).astype(np.float32), (0, 0), 14)
    return np.asarray((field > np.quantile(field, 0.7)) * 255, np.uint8)


def blur(mask: Mask, rng: np.random.Generator) -> Mask:
    """What a threshold leaves of a digit far out of focus."""
    small = np.pad(resize_to(mask, 80), 40)
    soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), rng.uniform(9, 18))
    return crop_to_ink(np.asarray((soft > rng.uniform(0.3, 0.65) * soft.max()) * 255, np.uint8))


def render_chunk(
    fonts: Path | None, sampler: Sampler, seed: tuple[int, ...]
) -> tuple[NDArray[np.uint8], list[int]]:
    """Images in MNIST's format and their classes, from `CHUNK` rows or pictures."""
    rng = np.random.default_rng(seed)
    shapes = load_shapes(fonts, TRAIN_IMAGES)
    files = font_files(fonts) if fonts else []
    images, labels = [], []
    for _ in range(CHUNK):
        shape = shapes[list(shapes)[rng.integers(len(shapes))]]
        for mask, label in sampler(shape, files, rng):
            if mask.sum() >= MIN_INK:
                images.append(draw_mask(mask))
                labels.append(label)
    return np.stack(images), labels
