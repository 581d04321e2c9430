"""The ink that a hypothesis finds in a picture, and the digits that are read in it."""

from typing import NamedTuple

import numpy as np

from tiny_mnist.inference.hypotheses import Hypothesis, InkSegmentation, apply_hypothesis
from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.ink import find_ink, remove_edges
from tiny_mnist.inference.paper import Mask
from tiny_mnist.inference.segmentation.division import OTHER
from tiny_mnist.inference.segmentation.reading import FoundDigit, find_only_digit, find_row_digits

MIN_SCORE = 0.25  # digit_score: nearly all rendered digits have more, most bare paper less
MIN_CLEAR_SCORE = -0.5  # digit_score: of digits that the verifier is sure of
MAX_CLEAR_OTHER = -5.0  # log-probability of anything else up to which it is; bare paper may have 1s
MAX_BARE_SCORE = 0.95  # digit_score: below it, and with several rows, `MIN_VALUE` is asked for
MIN_VALUE = -0.5  # value of a reading: digits rarely have less there, bare paper often
MIN_ONES_VALUE = 0.9
"""Value of a reading, below which 1s alone, by the verifier, are doubtful in pictures that are not
small, as are 1s below each other: they may be lines of the paper or edges. Of the 163 pictures of
1s that are read in `research.handwriting` with the 16 fonts for tuning and the seeds 5001 to 5003,
one, which is blurred, has less; of 18 empty papers that were read as 1s, 13 had."""
MAX_SCORE = 2.0  # digit_score: a larger one counts as this
ROW_PENALTY = 0.3  # subtracted for each further row: a broken digit or a margin looks like rows
MAX_PENALIZED_ROWS = 2  # of these: a page may have many
SAME_INK = 0.02  # part of the ink up to which two hypotheses may differ and be read only once
MAX_ROW_COST = 5.0
"""Mean cost per digit above which several digits are not accepted, and one is doubtful: of the
1,014 digits that were read rightly in `research.handwriting` with the 16 fonts for tuning and the
seeds 5001 to 5003, none costs more."""
# Digits that touch may be cut badly, although the row reader reads them. With these two, 50
# rendered words are taken for numbers as often as without.
MAX_SURE_ROW_COST = 7.0  # the same where the row reader is sure of every row
MIN_SURE_TEXT = -0.5  # log-probability of a text above which it is


class Ink(NamedTuple):
    """The ink of a picture under a hypothesis."""

    hypothesis: Hypothesis
    segmentation: InkSegmentation
    mask: Mask


class Reading(NamedTuple):
    """The digits of a picture under a hypothesis."""

    hypothesis: Hypothesis
    segmentation: InkSegmentation
    digits: list[FoundDigit]
    cost: float
    """Mean cost per digit."""
    value: float
    """Score of the hypothesis minus the cost; larger is better."""
    is_doubtful: bool = False
    """Whether there may be more digits, or none."""


def find_hypothesis_ink(picture: RGBImage, hypothesis: Hypothesis) -> Ink:
    """The ink of a picture, its longer side at most `LARGE_SIDE`, under a hypothesis."""
    segmentation = apply_hypothesis(picture, hypothesis)
    ink = find_ink(segmentation.contrast)
    return Ink(hypothesis, segmentation, remove_edges(ink, segmentation.dark_on_light))


def inherit_doubt(again: Reading, earlier: Reading) -> Reading:
    """A reading that is doubtful, too, if the earlier one is."""
    return again._replace(is_doubtful=again.is_doubtful or earlier.is_doubtful)


def are_alike(one: Ink, other: Ink) -> bool:
    """Whether nearly the same ink is found, so that the same digits are read."""
    if one.hypothesis.touches_border != other.hypothesis.touches_border:
        return False
    different = int(np.count_nonzero(one.mask != other.mask))
    return different <= SAME_INK * int(np.count_nonzero(one.mask))


def read_ink(ink: Ink, score: float, row_score: float, is_small: bool = False) -> Reading | None:
    """The digits that are in some ink; None where they are not plausible.

    Args:
        ink: of a picture.
        score: the score of its hypothesis, if there is one digit.
        row_score: the score of its hypothesis, if there are several.
        is_small: whether the picture is so small that its only shape is taken for a digit, if a
            doubtful one, and that it has no lines of the paper.
    """
    hypothesis, segmentation, mask = ink
    digits, cost = find_row_digits(mask, segmentation.rim, hypothesis.touches_border)
    is_unlike = is_small and not digits
    if is_unlike:
        digits, cost = find_only_digit(mask, segmentation.rim, hypothesis.touches_border)
    score = row_score if len(digits) > 1 else score
    if not digits or score < MIN_CLEAR_SCORE:
        return None
    text_log_prob = min(float(digit.row_log_probs.max()) for digit in digits)
    max_cost = MAX_SURE_ROW_COST if text_log_prob > MIN_SURE_TEXT else MAX_ROW_COST
    if len(digits) > 1 and cost > max_cost:
        return None
    rows = count_rows(digits)
    penalty = ROW_PENALTY * min(rows - 1, MAX_PENALIZED_ROWS)
    value = min(score, MAX_SCORE) - cost - penalty
    is_low = value < MIN_VALUE and (score < MAX_BARE_SCORE or rows > 1)
    if (score < MIN_SCORE or is_low) and highest_other(digits) > MAX_CLEAR_OTHER:
        return None
    are_in_column = len(digits) == rows > 1
    may_be_lines = not is_small and (value < MIN_ONES_VALUE or are_in_column)
    is_doubtful = cost > MAX_ROW_COST or is_unlike or (may_be_lines and are_ones(digits))
    return Reading(hypothesis, segmentation, digits, cost, value, is_doubtful)


def highest_other(digits: list[FoundDigit]) -> float:
    """The highest log-probability of anything else among some digits, from the verifier."""
    return max(float(digit.verifier_log_probs[OTHER]) for digit in digits)


def are_ones(digits: list[FoundDigit]) -> bool:
    """Whether all digits are 1s, by the verifier."""
    return all(digit.verifier_log_probs[:OTHER].argmax() == 1 for digit in digits)


def count_rows(digits: list[FoundDigit]) -> int:
    """Number of rows that these digits are in."""
    return len({digit.row for digit in digits})
