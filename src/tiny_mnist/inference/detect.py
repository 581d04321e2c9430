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
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.inference.ink import find_ink, ink_contrast
from tiny_mnist.inference.mnist_format import (
    CENTRE,
    DIGIT_SIDE,
    SIDE,
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
from tiny_mnist.inference.row_reading import FoundDigit, find_row_digits, verify_images
from tiny_mnist.inference.segmentation import frame_mask, largest_group

LARGE_SIDE = 800  # pixels: longer side of the picture from which digits are drawn
MIN_SIDE = 160  # smaller pictures are enlarged to this
SCREEN_SIDE = 64  # pixels: no picture this small is a photograph in uneven light
GREY_SIZE = 24  # pixels: digits no larger are drawn with their own greys
STROKE_REACHES = (0.08, 0.16, 0.33, 0.66)  # as parts of the longer side
MIN_SCORE = 0.25  # digit_score: nearly all rendered digits have more, most bare paper less
MAX_SCORE = 2.0  # more does not make a hypothesis better
MAX_READ = 4  # hypotheses among which the best reading is chosen; more only if they have none
SCORE_RANGE = 2.5  # below the best score
GOOD_COST = 0.5  # mean cost of a digit in a good reading
MAX_ROW_COST = 5.0  # mean cost of a digit in a row
OFF_SHEET_PENALTY = 1.0  # for hypotheses that look beside the sheet, if there is one

ONE_DIGIT_FEATURES = ("log_excess_width", "log_part_of_ink")
WEIGHTS: dict[str, float] = json.loads(
    files("tiny_mnist.inference").joinpath("digit_score.json").read_text()
)


class Digit(NamedTuple):
    """One digit of a picture."""

    box: Box
    """In pixels of the picture."""
    image: UInt8[ndarray, "28 28"]
    """As in MNIST, light on black."""
    row: int
    """From the top, starting at 0."""
    verifier: Float32[ndarray, "11"]
    """Log-probabilities of the ten digits and of anything else, by the network that judges them."""


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


class Reading(NamedTuple):
    """The digits of a picture under a hypothesis."""

    hypothesis: Hypothesis
    segmentation: Segmentation
    digits: list[FoundDigit]
    cost: float
    """Mean cost of a digit."""
    value: float
    """Larger is better."""


def find_digits(picture: Colours) -> list[Digit]:
    """Every digit of a picture from left to right; none in an empty picture.

    Args:
        picture: RGB, of any size.
    """
    if (already := find_mnist_image(picture)) is not None:
        return [already]
    large, scale = resize(picture, LARGE_SIDE)
    coarse, _ = resize(large, SEARCH_SIDE)
    small = max(picture.shape[:2]) <= SCREEN_SIDE
    scored = sorted(score_hypotheses(coarse, small), key=lambda item: -item[0])
    best: Reading | None = None
    for place, (score, row_score, hypothesis) in enumerate(scored):
        done = place >= MAX_READ or score < scored[0][0] - SCORE_RANGE
        if best is not None and (best.cost < GOOD_COST or done):
            break
        reading = read_hypothesis(large, hypothesis, score, row_score)
        if reading is not None and (best is None or reading.value > best.value):
            best = reading
    if best is None:
        return []
    hypothesis, segmentation = best.hypothesis, best.segmentation
    digits = []
    for one in best.digits:
        box = rescale(one.box, 1 / scale, picture.shape[:2])
        if box.size > GREY_SIZE:
            image = draw_mask(one.mask)
        else:
            original = apply_hypothesis(picture, hypothesis) if scale > 1 else segmentation
            whole = np.zeros(segmentation.contrast.shape, bool)
            area = whole[one.box.top : one.box.bottom, one.box.left : one.box.right]
            area[:] = one.mask if one.mask.shape == area.shape else True
            image = draw_greys(whole, original.contrast)
        digits.append(Digit(box, image, one.row, one.verifier))
    return digits


def read_hypothesis(
    picture: Colours, hypothesis: Hypothesis, score: float, row_score: float
) -> Reading | None:
    """The digits that a picture has under a hypothesis; None where they are not plausible.

    Args:
        picture: its longer side at most `LARGE_SIDE`.
        hypothesis: how its ink is found.
        score: of the hypothesis, if there is one digit.
        row_score: of the hypothesis, if there are several.
    """
    segmentation = apply_hypothesis(picture, hypothesis)
    digits, cost = find_row_digits(
        find_ink(segmentation.contrast), segmentation.rim, hypothesis.cut
    )
    score = row_score if len(digits) > 1 else score
    if not digits or score < MIN_SCORE or (len(digits) > 1 and cost > MAX_ROW_COST):
        return None
    return Reading(hypothesis, segmentation, digits, cost, min(score, MAX_SCORE) - cost)


def find_mnist_image(picture: Colours) -> Digit | None:
    """The digit of a picture that is in MNIST's format already; None for any other picture.

    Such a picture is 28×28 and grey, its digit light on black, 20 pixels high or wide, its centre
    of mass in the middle, and it looks like a digit.
    """
    grey = picture[..., 0]
    if grey.shape != (SIDE, SIDE) or (picture != grey[..., None]).any() or not grey.any():
        return None
    box = bounding_box(grey > 0)
    rows, columns = (grey.sum(axis, dtype=float) / grey.sum(dtype=float) for axis in (1, 0))
    centre = [float(part @ np.arange(SIDE)) for part in (rows, columns)]
    centred = all(abs(place - CENTRE) <= 1 for place in centre)
    if not centred or not DIGIT_SIDE - 1 <= box.size <= DIGIT_SIDE:
        return None
    scores = verify_images(grey[None])[0]
    return Digit(box, grey, 0, scores) if scores[:10].max() > np.log(0.5) else None


def score_hypotheses(picture: Colours, small: bool) -> Iterator[tuple[float, float, Hypothesis]]:
    """Every hypothesis that finds ink in a picture, with the digit score of its largest group.

    The second score is without the features that tell against a group that is wider than high:
    it may be several digits.

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
            inner = largest_group(mask, segmentation.rim, cut=False)
            if inner is not None:
                yield *digit_scores(inner, mask, segmentation, penalty), hypothesis
            if not on_sheet and (mask & segmentation.rim).any():
                touching = largest_group(mask, segmentation.rim, cut=True)
                if touching is not None:
                    scores = digit_scores(touching, mask, segmentation, penalty)
                    yield *scores, hypothesis._replace(cut=True)


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
        contrast = remove_printed_lines(remove_frames(contrast))
    contrast[~sheet] = 0
    inner = cv2.erode(np.pad(sheet, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return Segmentation(contrast, light, sheet & (inner == 0))


def remove_frames(contrast: Contrast) -> Contrast:
    """The contrast without the printed boxes of a form."""
    mask = find_ink(contrast)
    frames = frame_mask(mask)
    if not frames.any():
        return contrast
    near = cv2.dilate(frames.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(near & ~(mask & ~frames), np.minimum(contrast, 0), contrast)


def digit_scores(
    mask: Mask, ink: Mask, segmentation: Segmentation, penalty: float
) -> tuple[float, float]:
    """How much a group of strokes looks like ink of a pen, as one digit and as several.

    Larger is better; the penalty is subtracted.

    A logistic regression on `digit_features`: whether the digit was read right, over the
    hypotheses for rendered pictures (research/scenes.py).
    """
    features = digit_features(mask, ink, segmentation)
    terms = {name: WEIGHTS[name] * value for name, value in features.items()}
    score = WEIGHTS["intercept"] + sum(terms.values()) - penalty
    return score, score - sum(terms[name] for name in ONE_DIGIT_FEATURES)


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
