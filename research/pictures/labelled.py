"""Rendered ink, cut into pieces as `tiny_mnist.inference` cuts it, and what each piece shows."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from research.pictures.digits import Shape
from research.pictures.numbers import Row, draw_layers, make_draw, resize_to, shear
from research.pictures.scenes import Scene
from research.pictures.strokes import Draw, Mask, crop_to_ink
from tiny_mnist.inference.detect import resize
from tiny_mnist.inference.hypotheses import Group, find_groups
from tiny_mnist.inference.image_io import to_rgb
from tiny_mnist.inference.mnist_format import Box, stroke_width
from tiny_mnist.inference.paper import SEARCH_SIDE
from tiny_mnist.inference.segmentation.components import (
    Component,
    Labels,
    find_components,
    find_rows,
    union_box,
)
from tiny_mnist.inference.segmentation.division import OTHER
from tiny_mnist.inference.segmentation.pieces import (
    Boundary,
    Candidate,
    find_boundaries,
    find_candidates,
    item_masks,
)
from tiny_mnist.inference.segmentation.slant import deslant

Ink = NDArray[np.bool_]
Pixels = NDArray[np.int64]

MIN_INK = 12  # pixels of a sample
WHOLE, PURE = 0.85, 0.87  # of a digit's ink in a sample, and of a sample's ink that is the digit's
PART, MIXED = 0.75, 0.78  # what has less of either is not the digit; between them it is left out

INK, EDGE = 0.6, 0.2  # of the change that a digit makes in a picture: on its ink, and at its edge
MIN_CHANGE = 10  # of 255: JPEG changes a pixel by less where there is no digit
HYPOTHESES = 3  # of a picture, whose ink is cut

VARIED = 160  # pixels: height at which digits are stretched and bent

STYLES = (
    Row(),
    Row(gap=(0.02, 0.06)),
    Row(gap=(-0.1, 0.02)),
    Row(gap=(-0.1, 0.02), slant=(0.1, 0.5)),
    Row(gap=(0.03, 0.15), slant=(0.2, 0.5)),
    Row(heights=(0.75, 1.15), small=0.35),
    Row(separators=True),
    Row(separators=True, slant=(0.1, 0.5)),
)


class LabelledCandidate(NamedTuple):
    """A run of pieces of a row, and the digit that it is."""

    first: int
    last: int
    """Numbers of the boundaries."""
    mask: Ink
    label: int
    """`OTHER` for none; -1 where it is hard to say."""
    whole: float
    """The largest part of a digit's ink that is in it, from 0 to 1."""


class LabelledRow(NamedTuple):
    """A rendered row, cut into pieces."""

    height: float
    """Typical height of its digits, in pixels."""
    stroke: float
    """Mean width of its strokes, in pixels."""
    boundaries: list[Boundary]
    candidates: list[LabelledCandidate]
    """Every run of pieces that may be a digit."""


def is_wide(mask: Ink, box: Box, height: float) -> bool:
    """Whether an item of a row is wide enough to be cut."""
    return box.width > 0.4 * height


def vary(draw: Draw, rng: np.random.Generator) -> Draw:
    """The same digit stretched, bent and with another stroke."""
    stretch, amplitude = np.exp(rng.normal(0, 0.15)), rng.uniform(0, 0.045)
    bend = rng.normal(0, amplitude, (2, 4, 4)).astype(np.float32)
    thicker = int(rng.integers(-2, 4))

    def shape(width: float) -> Mask:
        mask = resize_to(crop_to_ink(draw(width)), VARIED)
        side = max(mask.shape)
        margin = side // 8
        size = max(8, round(mask.shape[1] * stretch)), mask.shape[0]
        mask = np.pad(np.asarray(cv2.resize(mask, size), np.uint8), margin)
        y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
        dx, dy = (
            cv2.resize(way * side, mask.shape[::-1], interpolation=cv2.INTER_CUBIC) for way in bend
        )
        mask = np.asarray(cv2.remap(mask, x + dx, y + dy, cv2.INTER_LINEAR), np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(thicker) + 1,) * 2)
        changed = cv2.dilate(mask, kernel) if thicker > 0 else cv2.erode(mask, kernel)
        return crop_to_ink(np.asarray(changed, np.uint8)) if (changed > 127).mean() > 0.02 else mask

    return shape


def damage(layer: Mask, rng: np.random.Generator) -> Ink:
    """Ink as it is found in a picture: blurred, noisy, thicker or thinner."""
    soft = cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.4, 1.5)).astype(np.float32)
    soft += rng.normal(0, rng.uniform(0, 25), layer.shape) * (soft > 20)
    return np.asarray(soft > rng.uniform(90, 160), bool)


def render_rows(
    shape: Shape,
    rng: np.random.Generator,
    may_split: Callable[[Ink, Box, float], bool] = is_wide,
) -> Iterator[LabelledRow]:
    """Two to five rendered digits as the rows that are found there: one, unless they come apart.

    Args:
        shape: the source of the digits.
        rng: what is drawn at random.
        may_split: from the ink of an item, its box and the row's height, whether it is cut.
    """
    style = STYLES[rng.integers(len(STYLES))]
    height = int(np.exp(rng.uniform(np.log(26), np.log(100))))
    digits = rng.integers(10, size=rng.integers(2, 6))
    draws = [vary(make_draw(shape, int(digit), rng), rng) for digit in digits]
    drawn = draw_layers(draws, style, height, rng)
    ink = np.pad(damage(drawn.ink, rng), 2)
    layers = [np.pad(layer > 60, 2) & ink for layer in drawn.digits]
    labels, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    for found_height, stroke, boundaries, found in cut_rows(labels, parts, may_split):
        candidates = []
        for candidate, y, x in found:
            label, whole = find_label(y, x, layers, layers, digits)
            first, last, mask, _ = candidate
            candidates.append(LabelledCandidate(first, last, mask, label, whole))
        yield LabelledRow(found_height, stroke, boundaries, candidates)


def cut_rows(
    labels: Labels, parts: list[Component], may_split: Callable[[Ink, Box, float], bool]
) -> Iterator[tuple[float, float, list[Boundary], list[tuple[Candidate, Pixels, Pixels]]]]:
    """The rows of some components: height, stroke, boundaries, candidates and their pixels."""
    for row in find_rows(parts) if parts else []:
        moved, straight, shift = deslant(labels, row)
        masks = item_masks(moved, straight)
        splittable = [
            may_split(mask, union_box(item), row.height)
            for mask, item in zip(masks, straight.parts, strict=True)
        ]
        boundaries = find_boundaries(masks, splittable)
        found = []
        for candidate in find_candidates(boundaries, masks, straight):
            y, x = np.nonzero(candidate.mask)
            y, x = y + candidate.box.top, x + candidate.box.left
            found.append((candidate, y, x - shift[y]))
        yield row.height, stroke_width(moved > 0), boundaries, found


def find_scene_pieces(
    scene: Scene, shape: Shape, digit: int, rng: np.random.Generator
) -> Iterator[tuple[Ink, int]]:
    """What is found in a picture of one digit, under some hypotheses, and its label.

    The picture is rendered once more without the digit, and otherwise with the same random numbers:
    where it differs is the digit. The ink is that of the search for hypotheses, in half the
    resolution of a reading; nothing is found in a picture where the digit can hardly be seen.

    Args:
        scene: one that can be rendered without ink.
        shape: the source of the digit.
        digit: which one is written.
        rng: what is drawn at random.
    """
    shape_seed, scene_seed = rng.integers(2**31, size=2)

    def draw(width: float) -> Mask:
        own = np.random.default_rng(shape_seed)
        return vary(make_draw(shape, digit, own), own)(width)

    def erase(width: float) -> Mask:
        return np.zeros_like(draw(width))

    written, empty = (
        resize(to_rgb(scene(way, np.random.default_rng(scene_seed))), SEARCH_SIDE)[0]
        for way in (draw, erase)
    )
    change = cv2.absdiff(written, empty).max(axis=2)
    if change.max() < MIN_CHANGE:
        return
    full = np.quantile(change[change >= MIN_CHANGE], 0.9)
    layer, edge = change > INK * full, change > EDGE * full
    # Of the groups of a hypothesis, one is enough: what is wanted is its ink.
    by_hypothesis = {group.hypothesis: group for group in find_groups(written, small=False)}
    groups: list[Group] = list(by_hypothesis.values())
    for place in rng.permutation(len(groups))[:HYPOTHESES]:
        hypothesis, segmentation, ink, *_ = groups[place]
        found = find_components(ink, segmentation.rim, hypothesis.touches_border)
        for *_, candidates in cut_rows(*found, is_wide):
            for candidate, y, x in candidates:
                yield candidate.mask, find_label(y, x, [layer], [edge], np.array([digit]))[0]


def find_label(
    y: Pixels, x: Pixels, layers: list[Ink], edges: list[Ink], digits: Pixels
) -> tuple[int, float]:
    """The digit that these pixels are, `OTHER`, or -1 where it is hard to say; and `whole`.

    Args:
        y: rows of the pixels.
        x: their columns.
        layers: ink of each digit.
        edges: all that may be found as ink of each digit.
        digits: which these are.
    """
    inside = [int(layer[y, x].sum()) for layer in layers]
    best = int(np.argmax(inside))
    whole = inside[best] / max(1, int(layers[best].sum()))
    pure = int(edges[best][y, x].sum()) / len(y)
    if whole > WHOLE and pure > PURE:
        return int(digits[best]), whole
    return OTHER if whole < PART or pure < MIXED else -1, whole


def lone_digit(shape: Shape, digit: int, rng: np.random.Generator) -> Ink:
    """A digit alone, in any resolution and with any pen."""
    draw = vary(make_draw(shape, digit, rng), rng)
    width = float(np.exp(rng.uniform(np.log(0.025), np.log(0.16))))
    mask = shear(draw(width), rng.normal(0.05, 0.15))
    high = int(np.exp(rng.uniform(np.log(14), np.log(100))))
    return damage(np.pad(resize_to(mask, high), 4), rng)
