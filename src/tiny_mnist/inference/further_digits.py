"""Digits that the likeliest reading of a picture leaves out.

In a hard shadow: the lit part of a paper looks like a sheet on something darker, and ink in the
shadow may be missing or joined with its edge. At the border, where most ink is no digit. Of a paler
pen: Otsu's threshold, between two inks, takes the paler one for background. Where another reading
has a clear digit that this one lacks, the number of digits is doubtful.
"""

import cv2
import numpy as np

from tiny_mnist.inference.hypotheses import STROKE_REACHES, Hypothesis
from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.ink import find_ink, remove_edges
from tiny_mnist.inference.ink_reading import (
    MAX_CLEAR_OTHER,
    MAX_SCORE,
    Ink,
    Reading,
    are_alike,
    are_ones,
    find_hypothesis_ink,
    highest_other,
    inherit_doubt,
    read_ink,
)
from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.paper import estimate_background
from tiny_mnist.inference.segmentation.components import are_nearly_as_high
from tiny_mnist.inference.segmentation.division import OTHER
from tiny_mnist.inference.segmentation.reading import FoundDigit

# More digits than a reading has: chosen on rows in hard shadows and on the pictures of
# `research.handwriting` with the 16 fonts for tuning and the seeds 5001 and 5002. The limits for
# the border, for paler ink and for covered boxes were set by hand and checked on further seeds.
MIN_SHADOW_RATIO = 1.4  # brightness of the lightest / of the darkest background
MAX_SHADOW_READINGS = 4  # hypotheses that are read to look for them
MAX_FURTHER_COST = 0.2  # mean cost per digit
MAX_FURTHER_OTHER = -0.3  # log-probability of anything else, of each further digit
MAX_CLEAR_FURTHER_OTHER = -2.0  # the same of one of them, which is no 1
MAX_BORDER_READINGS = 2  # hypotheses that are read to look for digits at the border
MIN_PALE_CONTRAST = 0.35  # contrast of paler digits / of the others; ink of the other side has less
MIN_SHARED_AREA = 0.5  # of two boxes, as a part of both together, if they are of one digit
MIN_COVERED_AREA = 0.5  # of a box, within those of a reading's digits, if it is none besides them


def is_light_uneven(picture: RGBImage) -> bool:
    """Whether a part of the paper may lie in a shadow."""
    background = estimate_background(picture, STROKE_REACHES[1]).mean(axis=2)
    dark, bright = np.quantile(background[::3, ::3], (0.05, 0.95))
    return bool(bright > MIN_SHADOW_RATIO * dark)


def include_shadow(
    picture: RGBImage,
    reading: Reading,
    others: list[tuple[float, float, Hypothesis]],
    read: list[tuple[Ink, Reading | None]],
) -> Reading:
    """The reading, or another one that has more digits, in a shadow.

    Args:
        picture: its longer side at most `LARGE_SIDE`.
        reading: of the picture.
        others: both scores of hypotheses without a sheet, the likeliest first, and the hypotheses.
        read: the ink that was read before, and its reading.
    """
    read = [*read]
    for score, row_score, hypothesis in others[:MAX_SHADOW_READINGS]:
        ink = find_hypothesis_ink(picture, hypothesis)
        earlier = [found for other, found in read if are_alike(ink, other)]
        whole = earlier[0] if earlier else read_ink(ink, score, row_score)
        read.append((ink, whole))
        if whole is not None:
            reading = include_digits(whole, reading)
    return reading


def include_border_digits(
    picture: RGBImage, reading: Reading, others: list[tuple[float, float, Hypothesis]]
) -> Reading:
    """The reading, or one that may touch the border of the picture; see `include_digits`.

    Args:
        picture: its longer side at most `LARGE_SIDE`.
        reading: of the picture.
        others: both scores of hypotheses, the likeliest first, and the hypotheses.
    """
    own = reading.hypothesis
    if own.touches_border or own.on_sheet:
        return reading
    alike = (h for *_, h in others if h.touches_border and h.inverted == own.inverted)
    chosen = dict.fromkeys([own._replace(touches_border=True), *alike])
    for hypothesis in [*chosen][:MAX_BORDER_READINGS]:
        ink = find_hypothesis_ink(picture, hypothesis)
        if not (ink.mask & ink.segmentation.rim).any():
            continue
        whole = read_ink(ink, MAX_SCORE, MAX_SCORE)
        if whole is not None:
            reading = include_digits(whole, reading)
    return reading


def include_paler_digits(reading: Reading) -> Reading:
    """The reading, or one with further digits whose ink is paler, as of another pen."""
    contrast = reading.segmentation.contrast
    ink = find_ink(contrast)
    edges = cv2.dilate(ink.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # they are paler
    rest = np.where(edges, np.float32(0), contrast)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(find_ink(rest).astype(np.uint8))
    usual = float(np.median([digit.box.height for digit in reading.digits]))
    heights = stats[:, cv2.CC_STAT_HEIGHT]
    chosen = np.array([are_nearly_as_high(height, usual) for height in heights.tolist()], bool)
    chosen[0] = False  # the background
    least = MIN_PALE_CONTRAST * float(np.median(contrast[ink]))
    for label in np.flatnonzero(chosen):
        chosen[label] = np.median(contrast[labels == label]) > least
    if not chosen.any():
        return reading
    dark = remove_edges(ink, reading.segmentation.dark_on_light)
    whole = Ink(reading.hypothesis, reading.segmentation, dark | chosen[labels])
    again = read_ink(whole, MAX_SCORE, MAX_SCORE)
    if again is None or not extends(again, reading):
        return reading
    return inherit_doubt(again, reading)


def include_digits(whole: Reading, reading: Reading) -> Reading:
    """The reading, or another one that has more digits.

    Their number is doubtful unless the other one has all digits of the reading at a low cost, and
    clear ones besides. 1s alone may be edges; beside a sheet they are, and do not count.
    """
    if extends(whole, reading):
        return inherit_doubt(whole, reading)
    if finds_clear_digit(whole, reading):
        is_likelier = len(whole.digits) > len(reading.digits) and whole.cost < reading.cost
        return (whole if is_likelier else reading)._replace(is_doubtful=True)
    further = find_further(whole, reading)
    if further and not (reading.hypothesis.on_sheet and are_ones(further)):
        return reading._replace(is_doubtful=True)
    return reading


def finds_clear_digit(other: Reading, reading: Reading) -> bool:
    """Whether another reading has what is clearly a digit where this one has none."""
    boxes = [digit.box for digit in reading.digits]
    height = float(np.median([box.height for box in boxes]))
    return any(
        is_clear(digit, MAX_CLEAR_OTHER)
        and are_nearly_as_high(digit.box.height, height)
        and not is_covered(digit.box, boxes)
        for digit in other.digits
    )


def extends(whole: Reading, part: Reading) -> bool:
    """Whether a reading has all digits of another one, and more like them that are clearly digits.

    An edge of the paper looks like a 1, so that 1s alone do not count.
    """
    return any(is_clear(digit, MAX_CLEAR_FURTHER_OTHER) for digit in find_further(whole, part))


def is_clear(digit: FoundDigit, max_other: float) -> bool:
    """Whether this is no 1, and anything else at most this likely (log-probability)."""
    scores = digit.verifier_log_probs
    return bool(scores[OTHER] < max_other and scores[:OTHER].argmax() != 1)


def find_further(whole: Reading, part: Reading) -> list[FoundDigit]:
    """The digits that a reading has besides all those of another one.

    None where they are not as high as these, or may be no digits.
    """
    if whole.cost > MAX_FURTHER_COST or len(whole.digits) <= len(part.digits):
        return []
    boxes = [digit.box for digit in part.digits]
    further = [
        digit
        for digit in whole.digits
        if not any(shared_area(digit.box, box) > MIN_SHARED_AREA for box in boxes)
    ]
    height = float(np.median([box.height for box in boxes]))
    are_digits = (
        len(whole.digits) - len(further) == len(boxes)
        and highest_other(further) < MAX_FURTHER_OTHER
        and all(are_nearly_as_high(digit.box.height, height) for digit in further)
    )
    return further if are_digits else []


def is_covered(box: Box, by: list[Box]) -> bool:
    """Whether most of a box lies within others, which hardly overlap."""
    shared = sum(common_area(box, other) for other in by)
    return shared > MIN_COVERED_AREA * box.width * box.height


def shared_area(one: Box, other: Box) -> float:
    """Area that two boxes share, as a part of the area of both together, from 0 to 1."""
    shared = common_area(one, other)
    return shared / (one.width * one.height + other.width * other.height - shared)


def common_area(one: Box, other: Box) -> int:
    """Area that two boxes share, in pixels."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0, width) * max(0, height)
