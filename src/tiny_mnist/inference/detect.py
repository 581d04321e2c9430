"""From a picture to its digits, each in MNIST's format.

The colour of the ink, the width of its strokes and the extent of the paper are not known. Each
combination is a hypothesis; a score that was fitted to rendered pictures tells which of them shows
digits.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.inference.digit_score import digit_scores
from tiny_mnist.inference.further_digits import (
    finds_clear_digit,
    include_border_digits,
    include_paler_digits,
    include_shadow,
    is_light_uneven,
)
from tiny_mnist.inference.hypotheses import (
    STROKE_REACHES,
    Hypothesis,
    apply_hypothesis,
    find_groups,
)
from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.ink import find_ink, remove_steps
from tiny_mnist.inference.ink_reading import (
    MAX_SCORE,
    MIN_CLEAR_SCORE,
    Ink,
    Reading,
    are_alike,
    are_ones,
    count_rows,
    find_hypothesis_ink,
    highest_other,
    inherit_doubt,
    read_ink,
)
from tiny_mnist.inference.mnist_format import (
    CENTRE,
    DIGIT_SIDE,
    SIDE,
    Box,
    bounding_box,
    draw_greys,
    draw_mask,
)
from tiny_mnist.inference.paper import SEARCH_SIDE
from tiny_mnist.inference.segmentation.reading import (
    MAX_BROKEN_PARTS,
    score_images,
)

LARGE_SIDE = 800  # pixels: longer side of the picture from which digits are drawn
MIN_SIDE = 160  # pixels: longer side to which smaller pictures are enlarged
MAX_SCREEN_SIDE = 64  # pixels: longer side up to which even light is assumed first
MAX_GREY_SIZE = 24  # pixels: size up to which a digit is drawn with its own greys
MAX_SMALL_OTHER = -3.0  # log-probability of anything else, in a small picture in uneven light
MAX_READINGS = 4  # hypotheses that are read, until one has digits in one row at `GOOD_COST`
# Chosen on `research.handwriting` with the fonts of `research.fit_confidence`, seeds 7001 to 7006.
MAX_LATE_READINGS = 4  # further hypotheses that are read if none has
MAX_LATE_COST = 0.2  # mean cost per digit of one row up to which they may replace another row
MAX_SCORE_GAP = 2.5  # difference from the best digit_score up to which a hypothesis is read
GOOD_COST = 0.5  # mean cost per digit of one row below which no further hypothesis is read
MIN_ZOOM = 1.5  # smallest gain in resolution for which the digits' region is re-read
MAX_COST_INCREASE = 0.3
"""Largest accepted increase of the mean cost per digit when the region is re-read at higher
resolution."""
FAINT_EXTENT = 0.25  # as `extent` of `find_ink`: chalk in bad light may fade to this
MAX_DOUBTFUL_COUNT = 0.5  # probability of the numbers of digits where there may be more, or none
MIN_GROWTH = 1.1  # ratio of width or height from which a digit with its faint ink is read anew


class Digit(NamedTuple):
    """One digit of a picture."""

    box: Box
    """Rectangle around the digit, in pixels of the picture."""
    image: UInt8[ndarray, "28 28"]
    """The digit as in MNIST, light on black."""
    row: int
    """Number of its row from the top, starting at 0."""
    verifier_log_probs: Float32[ndarray, "11"]
    """Log-probabilities of the ten digits and of anything else, from the verifier."""
    count_probability: float = 1.0
    """Probability that its row has as many digits as were found, from 0 to 1."""
    is_row_cut: bool = False
    """Whether ink was cut in its row."""
    row_log_probs: Float32[ndarray, "10"] = np.zeros(10, np.float32)
    """Log-probability, from the row reader, of the row's text with each of the ten digits in the
    place of this one; 0 where the row reader was not asked."""


def find_digits(picture: RGBImage) -> list[Digit]:
    """Every digit of a picture from left to right; none in an empty picture.

    Args:
        picture: RGB, of any size.
    """
    if (already := find_mnist_image(picture)) is not None:
        return [already]
    large, scale = resize(picture, LARGE_SIDE)
    small = max(picture.shape[:2]) <= MAX_SCREEN_SIDE
    best = find_best_reading(large, small)
    if best is None and small:  # it may be a photograph
        best = find_best_reading(large, small=False)
        if best is not None and highest_other(best.digits) > MAX_SMALL_OTHER:
            return []
    if best is None:
        return []
    region = crop_region(best, scale, picture.shape)
    closer = picture[region.top : region.bottom, region.left : region.right]
    large, closer_scale = resize(closer, LARGE_SIDE)
    if scale * MIN_ZOOM < closer_scale <= 1:
        again = read_closer(large, best, max(picture.shape) / max(closer.shape))
        if again is not None:
            return [
                digit._replace(box=shift_box(digit.box, region.left, region.top))
                for digit in draw_digits(closer, again, closer_scale)
            ]
    return draw_digits(picture, best, scale)


def find_best_reading(picture: RGBImage, small: bool) -> Reading | None:
    """The reading under the best hypothesis; None if there is no digit.

    Args:
        picture: its longer side at most `LARGE_SIDE`.
        small: whether the original picture is so small that its light is even.
    """
    coarse, _ = resize(picture, SEARCH_SIDE)
    scores: dict[Hypothesis, tuple[float, float]] = {}
    for group in find_groups(coarse, small):
        one, several = scores.get(group.hypothesis, (-np.inf, -np.inf))
        score, row_score = digit_scores(group)
        scores[group.hypothesis] = max(one, score), max(several, row_score)
    found = [(*pair, hypothesis) for hypothesis, pair in scores.items()]
    scored = sorted(found, key=lambda item: -max(item[:2]))
    best: Reading | None = None
    read: list[tuple[Ink, Reading | None]] = []
    for place, (score, row_score, hypothesis) in enumerate(
        scored[: MAX_READINGS + MAX_LATE_READINGS]
    ):
        if best is not None:
            # Several rows may be a digit in pieces: read on.
            several = count_rows(best.digits) > 1 and len(best.digits) <= MAX_BROKEN_PARTS
            unlikely = max(score, row_score) < max(scored[0][:2]) - MAX_SCORE_GAP
            if unlikely or (best.cost < GOOD_COST and not several):
                break
        if max(score, row_score) < MIN_CLEAR_SCORE:
            continue
        ink = find_hypothesis_ink(picture, hypothesis)
        if any(are_alike(ink, other) for other, _ in read):
            continue
        reading = read_ink(ink, score, row_score, is_small=small)
        read.append((ink, reading))
        if reading is None or (best is not None and reading.value <= best.value):
            continue
        is_late = place >= MAX_READINGS and best is not None and count_rows(best.digits) == 1
        if is_late and (reading.cost > MAX_LATE_COST or count_rows(reading.digits) > 1):
            continue
        best = reading
    if best is None or small:
        return best
    if best.hypothesis.on_sheet or is_light_uneven(coarse):
        others = [item for item in scored if not item[2].on_sheet]
        best = include_shadow(picture, best, others, read)
    best = include_border_digits(picture, include_faint_ink(best), scored)
    best = include_paler_digits(best)
    if any(other is not None and finds_clear_digit(other, best) for _, other in read):
        best = best._replace(is_doubtful=True)
    return best


def include_faint_ink(reading: Reading) -> Reading:
    """The reading with fainter ink that continues its only digit, if that makes it plausible.

    A 1 whose fainter ink is the strip beside a step of the brightness is doubtful.
    """
    if len(reading.digits) > 1:
        return reading
    box = reading.digits[0].box
    ink = find_ink(reading.segmentation.contrast, FAINT_EXTENT)
    _, labels = cv2.connectedComponents(ink.astype(np.uint8))
    inside = labels[box.top : box.bottom, box.left : box.right]
    connected = np.isin(labels, np.unique(inside[inside > 0]))
    picture = reading.segmentation.dark_on_light
    if are_ones(reading.digits) and not remove_steps(connected, picture).any():
        return reading._replace(is_doubtful=True)
    grown = bounding_box(connected)
    if grown.width < MIN_GROWTH * box.width and grown.height < MIN_GROWTH * box.height:
        return reading
    whole = Ink(reading.hypothesis, reading.segmentation, connected)
    again = read_ink(whole, MAX_SCORE, MAX_SCORE)
    if again is None or len(again.digits) > 1 or again.cost > reading.cost:
        return reading
    return inherit_doubt(again, reading)


def crop_region(reading: Reading, scale: float, shape: tuple[int, ...]) -> Box:
    """The region of a picture around its digits, with margins: the row may go on at both ends."""
    around = reading.digits[0].box
    for digit in reading.digits[1:]:
        around = around.union(digit.box)
    high = max(digit.box.height for digit in reading.digits)
    left, top, right, bottom = around
    wider = Box(max(0, left - 3 * high), max(0, top - high), right + 3 * high, bottom + high)
    return rescale_box(wider, 1 / scale, shape)


def read_closer(picture: RGBImage, reading: Reading, enlarged: float) -> Reading | None:
    """The digits of a picture's part in more detail; None if that makes them less plausible.

    Args:
        picture: the part, its longer side at most `LARGE_SIDE`.
        reading: the reading of the whole picture.
        enlarged: ratio of the longer side of the whole picture to that of the part.
    """
    hypothesis = reading.hypothesis
    if hypothesis.stroke_reach is not None:
        reach = min(hypothesis.stroke_reach * enlarged, STROKE_REACHES[-1])
        hypothesis = hypothesis._replace(stroke_reach=reach)
    again = read_ink(find_hypothesis_ink(picture, hypothesis), MAX_SCORE, MAX_SCORE)
    if again is None or again.cost >= reading.cost + MAX_COST_INCREASE:
        return None
    again = include_paler_digits(again)
    return inherit_doubt(again, reading)


def draw_digits(picture: RGBImage, reading: Reading, scale: float) -> list[Digit]:
    """The digits of a picture in MNIST's format.

    Args:
        picture: the picture in its original resolution.
        reading: the reading of the picture at another scale.
        scale: the factor from the original resolution to that of the reading.
    """
    segmentation = reading.segmentation
    original = apply_hypothesis(picture, reading.hypothesis) if scale > 1 else segmentation
    rows = count_rows(reading.digits)
    most = MAX_DOUBTFUL_COUNT ** (1 / rows) if reading.is_doubtful else 1.0
    digits = []
    for one in reading.digits:
        box = rescale_box(one.box, 1 / scale, picture.shape[:2])
        if box.size > MAX_GREY_SIZE:
            image = draw_mask(one.mask)
        else:
            whole = np.zeros(segmentation.contrast.shape, bool)
            area = whole[one.box.top : one.box.bottom, one.box.left : one.box.right]
            area[:] = one.mask if one.mask.shape == area.shape else True
            image = draw_greys(whole, original.contrast)
        digits.append(
            Digit(
                box,
                image,
                one.row,
                one.verifier_log_probs,
                min(one.count_probability, most),
                one.is_row_cut,
                one.row_log_probs,
            )
        )
    return digits


def find_mnist_image(picture: RGBImage) -> Digit | None:
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
    scores = score_images(grey[None])[0]
    return Digit(box, grey, 0, scores) if scores[:10].max() > np.log(0.5) else None


def resize(picture: RGBImage, longer: int) -> tuple[UInt8[ndarray, "newheight newwidth 3"], float]:
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


def shift_box(box: Box, right: int, down: int) -> Box:
    """The box moved by so many pixels."""
    return Box(box.left + right, box.top + down, box.right + right, box.bottom + down)


def rescale_box(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """The box multiplied by a factor, within a picture of this shape and at least a pixel large."""
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return Box(left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0]))
