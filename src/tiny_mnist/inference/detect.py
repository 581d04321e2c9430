"""From a picture to its digits, each in MNIST's format.

The colour of the ink, the width of its strokes and the extent of the paper are not known. Each
combination is a hypothesis; a score that was fitted to rendered pictures tells which of them shows
digits.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from tiny_mnist.inference.ink import find_ink, ink_contrast
from tiny_mnist.inference.mnist_format import (
    Box,
    bounding_box,
    draw_greys,
    draw_mask,
)
from tiny_mnist.inference.paper import (
    SEARCH_SIDE,
    Colours,
    Contrast,
    Mask,
    find_sheet,
    remove_printed_lines,
    shrink,
)
from tiny_mnist.inference.segmentation import group_strokes

LARGE_SIDE = 800  # pixels: longer side of the picture from which digits are drawn
MIN_SIDE = 160  # smaller pictures are enlarged to this
SCREEN_SIDE = 64  # pixels: no picture this small is a photograph in uneven light
GREY_SIZE = 24  # pixels: digits no larger are drawn with their own greys
STROKE_REACHES = (0.08, 0.16, 0.33, 0.66)  # as parts of the longer side
MIN_SCORE = 0.25  # digit_score: nearly all rendered digits have more, most bare paper less
OFF_SHEET_PENALTY = 1.0  # for hypotheses that look beside the sheet, if there is one

WEIGHTS: dict[str, float] = json.loads(
    files("tiny_mnist.inference").joinpath("digit_score.json").read_text()
)


class Digit(NamedTuple):
    """One digit of a picture."""

    box: Box
    """In pixels of the picture."""
    image: UInt8[ndarray, "28 28"]
    """As in MNIST, light on black."""


class Hypothesis(NamedTuple):
    """What is assumed about a picture in order to find its ink."""

    inverted: bool
    """Whether the ink is lighter than the background."""
    on_sheet: bool
    """Whether only what lies on a bright sheet of paper counts."""
    stroke_reach: float | None
    """Width that no stroke exceeds, as a part of the picture's longer side; None: even light."""
    cut: bool
    """Whether the digit may touch the border of the picture."""


class Segmentation(NamedTuple):
    """A picture under a hypothesis."""

    contrast: Contrast
    light: Colours
    """The picture with dark ink; what is not on the sheet has the sheet's colour."""
    rim: Mask
    """The outermost pixels of the picture or the sheet."""


def find_digits(picture: Colours) -> list[Digit]:
    """Every digit of a picture from left to right; none in an empty picture.

    Args:
        picture: RGB, of any size.
    """
    large, scale = resize(picture, LARGE_SIDE)
    coarse, _ = resize(large, SEARCH_SIDE)
    small = max(picture.shape[:2]) <= SCREEN_SIDE
    scored = [item for item in score_hypotheses(coarse, small) if item[0] >= MIN_SCORE]
    for _score, hypothesis in sorted(scored, key=lambda item: -item[0]):
        segmentation = apply_hypothesis(large, hypothesis)
        groups = group_strokes(find_ink(segmentation.contrast), segmentation.rim, hypothesis.cut)
        if groups:
            break
    else:
        return []
    digits = []
    for group in groups:
        box = rescale(bounding_box(group), 1 / scale, picture.shape[:2])
        if box.size > GREY_SIZE:
            image = draw_mask(group)
        else:
            original = apply_hypothesis(picture, hypothesis) if scale > 1 else segmentation
            image = draw_greys(group, original.contrast)
        digits.append(Digit(box, image))
    return sorted(digits, key=lambda digit: digit.box.left)


def score_hypotheses(picture: Colours, small: bool) -> Iterator[tuple[float, Hypothesis]]:
    """Every hypothesis that finds ink in a picture, with the digit score of its largest group.

    Args:
        picture: its longer side at most `SEARCH_SIDE`.
        small: whether the original picture is so small that its light is even.
    """
    sheet = None if small else find_sheet(picture)
    for inverted, on_sheet in ((False, False), (True, False), (False, True)):
        if on_sheet and sheet is None:
            continue
        for reach in (None,) if small else STROKE_REACHES:
            hypothesis = Hypothesis(inverted, on_sheet, reach, False)
            segmentation = apply_hypothesis(picture, hypothesis)
            mask = find_ink(segmentation.contrast)
            penalty = OFF_SHEET_PENALTY if sheet is not None and not on_sheet else 0.0
            if inner := group_strokes(mask, segmentation.rim, cut=False):
                yield digit_score(inner[0], mask, segmentation) - penalty, hypothesis
            if not on_sheet and (mask & segmentation.rim).any():
                touching = group_strokes(mask, segmentation.rim, cut=True)[0]
                score = digit_score(touching, mask, segmentation) - penalty
                yield score, hypothesis._replace(cut=True)


def apply_hypothesis(picture: Colours, hypothesis: Hypothesis) -> Segmentation:
    """The contrast of a picture's ink under a hypothesis."""
    light = 255 - picture if hypothesis.inverted else picture
    sheet = find_sheet(picture) if hypothesis.on_sheet else None
    if sheet is None:
        sheet = np.ones(picture.shape[:2], bool)
    else:
        light = light.copy()
        light[~sheet] = np.median(light[sheet], axis=0)
    contrast = ink_contrast(light, hypothesis.stroke_reach)
    if hypothesis.stroke_reach is not None:
        contrast = remove_printed_lines(contrast)
    contrast[~sheet] = 0
    inner = cv2.erode(np.pad(sheet, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return Segmentation(contrast, light, sheet & (inner == 0))


def digit_score(mask: Mask, ink: Mask, segmentation: Segmentation) -> float:
    """How much a group of strokes looks like a digit written with a pen; larger is better.

    A logistic regression on `digit_features`: whether the digit was read right, over the
    hypotheses for rendered pictures. `research/fit_digit_score.py` fits the weights.
    """
    features = digit_features(mask, ink, segmentation)
    return WEIGHTS["intercept"] + sum(WEIGHTS[name] * features[name] for name in features)


def digit_features(mask: Mask, ink: Mask, segmentation: Segmentation) -> dict[str, float]:
    """What tells a digit from a shadow, a table's edge or the paper within a loop.

    Args:
        mask: the group of strokes.
        ink: all ink of the picture.
        segmentation: that they were found in.
    """
    contrast = segmentation.contrast
    box = bounding_box(mask)
    inside = slice(box.top, box.bottom), slice(box.left, box.right)
    part = np.pad(mask[inside], 1).astype(np.uint8)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, 5)
    ridge = distance[(distance >= cv2.dilate(distance, np.ones((3, 3)))) & (distance > 0)]
    stroke = 2 * float(ridge.mean())
    edge = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    local = np.ascontiguousarray(contrast[inside])
    strength = float(np.median(local[mask[inside]]))
    slope = np.hypot(cv2.Sobel(local, -1, 1, 0), cv2.Sobel(local, -1, 0, 1)) / 8
    sharpness = float(np.median(slope[edge])) / max(strength, 1e-6)
    on_rim = float((mask & segmentation.rim).sum()) / (2 * (box.width + box.height))
    log_size = float(np.log(box.size / max(mask.shape)))
    return {
        "log_contrast": float(np.log(max(strength, 1e-3))),
        "log_sharpness": float(np.log(sharpness * stroke + 1e-3)),
        "stroke_variation": float(ridge.std() / ridge.mean()),
        "on_rim": on_rim,
        "log_size": log_size,
        "stroke_excess": max(0.0, stroke / box.size - 0.3),
        "darkness": relative_darkness(mask, segmentation.light),
        "log_excess_width": max(0.0, float(np.log(box.width / box.height))),
        "log_part_of_ink": float(np.log(mask.sum() / ink.sum())),
        "touches_rim": float(on_rim > 0),
        "log_size_if_touching": log_size * (on_rim > 0),
    }


def relative_darkness(mask: Mask, picture: Colours) -> float:
    """Whether this is darker than the rest of the picture: 1 for ink, 0 for paper in a loop."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    around = cv2.resize(cv2.medianBlur(shrink(grey, 64), 33), grey.shape[::-1])
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    ring = grey[cv2.dilate(near, np.ones((5, 5), np.uint8)) > near]
    dark = float(np.median(grey[mask]))
    light = float(np.quantile(ring, 0.7)) if ring.size else 255.0
    span = max(light - dark, 1.0)
    levels = (float(np.median(border)), float(np.median(around[mask])))
    return sum(float(np.clip((level - dark) / span, 0, 1)) for level in levels) / 2


def resize(picture: Colours, longer: int) -> tuple[UInt8[ndarray, "newheight newwidth 3"], float]:
    """The picture with a longer side of at most this many pixels, and the factor.

    Pictures below `MIN_SIDE` are enlarged to it.
    """
    now = max(picture.shape[:2])
    scale = min(1.0, longer / now) if now > MIN_SIDE else MIN_SIDE / now
    if scale == 1:
        return picture, 1.0
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation)), scale


def rescale(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """The box in the pixels of the picture as it came."""
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return Box(left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0]))
