"""Which pieces of ink are one digit: over-segmentation, and the best way through the pieces.

A row is cut wherever two digits may touch. A network that knows ten digits and everything else
(`pretrained/verifier.onnx`) judges each run of neighbouring pieces, and dynamic programming finds
the division of the row into digits and left-out pieces whose costs are lowest. A cost is a negative
log-probability; a digit's is relative to that of anything else, because divisions into few and into
many pieces are compared.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import Box, draw_mask, stroke_width
from tiny_mnist.inference.paper import Mask
from tiny_mnist.inference.segmentation.components import (
    Component,
    Labels,
    Row,
    find_components,
    find_rows,
    union_box,
)
from tiny_mnist.inference.segmentation.pieces import (
    Boundary,
    Candidate,
    find_boundaries,
    find_candidates,
    item_masks,
)
from tiny_mnist.inference.segmentation.slant import deslant, slanted_box

if TYPE_CHECKING:
    import onnxruntime

OTHER = 10  # the verifier's class of everything that is not one digit
MAX_WHOLE_COST = 0.7  # cost of an item as one digit up to which it is not split, unless wide
MIN_SPLIT_ASPECT = 1.05  # width / height above which an item is always split
MAX_ASPECT = 15.0  # width / height above which an item is a line
MIN_HEIGHT = 0.3  # height of an item, in row heights, below which it is a line or a dash
MAX_COST = 9.0  # negative log-probability that counts as the largest
# The three below were fitted once to 660 rendered rows (60 fonts, MNIST's training images,
# strokes): a semi-Markov random field, which tells the right division of each row from all others.
OTHER_WEIGHT = 0.57  # factor of the log-probability of anything else in the cost of a digit
CUT_COST = 1.47, 1.33  # of a cut, and for each width of the stroke that is cut through
SKIP_COST = 0.6, 2.28  # of leaving a piece out: of any, and of a stroke as long as the row is high
# The fit of the first has 0.65. From 0.65 to 3.5, larger values divide more of these rows rightly
# (482 to 488), and keep a part of a letter from being a digit; the second was chosen by hand.
OFFCUT_COST = 2.5  # of leaving out a piece that was cut off
EMPTY_COST = 2.8  # of a row without digits; with it, leaving out a 1 alone costs 5.7 in all
# A pen that fades or skips leaves a digit in pieces; if some stand above each other, they look like
# rows of digits. Of 1,392 rendered digits these two put 5 together, all rightly. Rows of digits as
# close to each other are taken for one digit, too, if they look like one: two zeros may be an 8.
MAX_BREAK = 0.04  # widest gap within a broken digit, in longer sides of all ink; at least 2 pixels
MIN_JOINED_PROBABILITY = 0.9  # of a digit in the joined strokes


class Step(NamedTuple):
    """One step in the division of a row: from one boundary to another."""

    first: int
    last: int
    """Numbers of the boundaries."""
    cost: float
    candidate: int | None
    """Number of the candidate that is a digit; None if what lies between is left out."""


class FoundDigit(NamedTuple):
    """One digit of a picture."""

    box: Box
    mask: Mask
    """Its ink, upright if the row is slanted."""
    row: int
    """From the top, starting at 0."""
    verifier_log_probs: Float32[ndarray, "11"]
    """Log-probabilities of the ten digits and of anything else."""
    count_probability: float
    """Probability that its row has as many digits as were found, from 0 to 1."""
    cut_row_cost: float
    """Mean cost per digit of its row if ink was cut there; otherwise 0."""


def find_row_digits(mask: Mask, rim: Mask, touches_border: bool) -> tuple[list[FoundDigit], float]:
    """All digits in reading order, and their mean cost; none if there is no ink.

    Args:
        mask: all ink.
        rim: the outermost pixels; what touches them is left out unless `touches_border`.
        touches_border: whether a digit may touch the rim.
    """
    labels, parts = find_components(mask, rim, touches_border)
    if not parts:
        return [], 0.0
    rows = find_rows(parts)
    if len(rows) > 1 and (joined := join_strokes(labels, parts)) is not None:
        return [joined], lowest_cost(joined.verifier_log_probs)
    found: list[FoundDigit] = []
    total, number = 0.0, 0
    for row in rows:
        digits, cost = read_row(labels, row, number)
        number += bool(digits)
        found += digits
        total += cost
    return found, total / max(1, len(found))


def join_strokes(labels: Labels, parts: list[Component]) -> FoundDigit | None:
    """The digit that all ink shows once narrow gaps are filled; None unless it clearly is one."""
    box = union_box(parts)
    if box.width > MIN_SPLIT_ASPECT * box.height:
        return None
    ink = np.isin(labels[box.top : box.bottom, box.left : box.right], [p.label for p in parts])
    reach = max(1, round(MAX_BREAK * box.size / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    padded = np.pad(ink, reach).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[reach:-reach, reach:-reach]
    if cv2.connectedComponents(closed)[0] != 2:  # the background counts as one
        return None
    mask = closed > 0
    (scores,) = score_masks([mask])
    if np.exp(scores[:10].max()) < MIN_JOINED_PROBABILITY:
        return None
    return FoundDigit(box, mask, 0, scores, 1.0, 0.0)


def read_row(labels: Labels, row: Row, number: int) -> tuple[list[FoundDigit], float]:
    """The digits of one row from left to right, and the cost of all its ink.

    That cost is without the comparison of the digits with anything else, and not negative.
    """
    labels, row, shift = deslant(labels, row)
    masks = item_masks(labels, row)
    splittable = [
        is_splittable(score, union_box(item), row.height)
        for item, score in zip(row.parts, score_masks(masks), strict=True)
    ]
    boundaries = find_boundaries(masks, splittable)
    candidates = find_candidates(boundaries, masks, row)
    scores = score_masks([candidate.mask for candidate in candidates])
    stroke = stroke_width(labels > 0)
    steps = possible_steps(boundaries, candidates, scores, row.height, stroke)
    chosen, cost, count_probability = cheapest_steps(steps, len(boundaries))
    cost -= sum(compare_with_other(scores[index]) for index in chosen)
    is_cut = any(is_offcut(boundaries, candidates[index]) for index in chosen)
    mean_cost = cost / len(chosen) if is_cut else 0.0
    digits = []
    for index in chosen:
        _, _, mask, box = candidates[index]
        box = slanted_box(mask, box, shift)
        digits.append(FoundDigit(box, mask, number, scores[index], count_probability, mean_cost))
    return digits, cost


def possible_steps(
    boundaries: list[Boundary],
    candidates: list[Candidate],
    scores: Float32[ndarray, "n 11"],
    height: float,
    stroke: float,
) -> list[Step]:
    """Every candidate as something left out, and as a digit if it is high enough, in order.

    Args:
        boundaries: of the row.
        candidates: of the row.
        scores: log-probabilities of each candidate.
        height: of the row's digits, in pixels.
        stroke: the width of their strokes, in pixels.
    """
    steps = []
    for index, (candidate, score) in enumerate(zip(candidates, scores, strict=True)):
        first, last, mask, box = candidate
        length = np.count_nonzero(mask) / (height * stroke)
        cut = cut_cost(boundaries[first])
        skip = SKIP_COST[0] + SKIP_COST[1] * length + OFFCUT_COST * is_offcut(boundaries, candidate)
        if box.height >= MIN_HEIGHT * height:
            steps.append(Step(first, last, cut + digit_cost(score), index))
        steps.append(Step(first, last, cut + skip, None))
    reached = {step.last for step in steps}
    empty = [last for last in range(1, len(boundaries)) if last not in reached]
    steps += [Step(last - 1, last, 0.0, None) for last in empty]  # there is no ink between
    return sorted(steps, key=lambda step: step.last)


def cheapest_steps(steps: list[Step], boundaries: int) -> tuple[list[int], float, float]:
    """The cheapest division of a row, by dynamic programming for each number of digits.

    Args:
        steps: ordered by their last boundary.
        boundaries: how many there are.

    Returns:
        The candidates that are digits, from left to right; the cost of the whole row; and the
        probability that the number of digits is right. Costs are taken for negative
        log-probabilities: the cheapest divisions into other numbers of digits are the alternatives.
    """
    costs = np.full((boundaries, boundaries), np.inf)  # by boundary and number of digits before it
    costs[0, 0] = 0.0
    origin = np.full((boundaries, boundaries), -1)
    for place, step in enumerate(steps):
        cost = costs[step.first] + step.cost
        if step.candidate is not None:
            cost = np.concatenate([[np.inf], cost[:-1]])
        better = cost < costs[step.last]
        costs[step.last, better] = cost[better]
        origin[step.last, better] = place
    costs[-1, 0] += EMPTY_COST
    count = int(costs[-1].argmin())
    lowest = float(costs[-1, count])
    count_probability = 1 / float(np.exp(lowest - costs[-1]).sum())
    chosen = []
    last = boundaries - 1
    while last:
        step = steps[origin[last, count]]
        if step.candidate is not None:
            chosen.append(step.candidate)
            count -= 1
        last = step.first
    return chosen[::-1], lowest, count_probability


def is_splittable(log_probs: Float32[ndarray, "11"], box: Box, height: float) -> bool:
    """Whether an item of a row may be several digits that touch; a line below them is none."""
    if box.height < MIN_HEIGHT * height or box.width > MAX_ASPECT * box.height:
        return False
    if box.width > MIN_SPLIT_ASPECT * max(box.height, 0.7 * height):
        return True
    return box.width > 0.4 * height and lowest_cost(log_probs) > MAX_WHOLE_COST


def cut_cost(boundary: Boundary) -> float:
    """Cost of dividing a row."""
    return 0.0 if boundary.right is None else CUT_COST[0] + CUT_COST[1] * boundary.crossing


def is_offcut(boundaries: list[Boundary], candidate: Candidate) -> bool:
    """Whether a piece was cut off at either end."""
    return any(boundaries[end].right is not None for end in (candidate.first, candidate.last))


def digit_cost(log_probs: Float32[ndarray, "11"]) -> float:
    """Cost of taking a run of pieces for a digit and for nothing else."""
    return lowest_cost(log_probs) + compare_with_other(log_probs)


def lowest_cost(log_probs: Float32[ndarray, "11"]) -> float:
    """Negative log-probability of the likeliest digit."""
    return min(-float(log_probs[:10].max()), MAX_COST)


def compare_with_other(log_probs: Float32[ndarray, "11"]) -> float:
    """The part of a digit's cost that is lower where the shape is unlikely to be anything else."""
    return OTHER_WEIGHT * max(float(log_probs[OTHER]), -MAX_COST)


def score_masks(masks: list[ndarray]) -> Float32[ndarray, "n 11"]:
    """Log-probabilities of the ten digits and of anything else, for shapes of ink."""
    if not masks:
        return np.zeros((0, 11), np.float32)
    return score_images(np.stack([draw_mask(mask) for mask in masks]))


def score_images(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 11"]:
    """Log-probabilities of the ten digits and of anything else, for images as in MNIST."""
    session = load_verifier()
    (log_probs,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(log_probs, np.float32)


@cache
def load_verifier() -> "onnxruntime.InferenceSession":
    """The network that tells digits from everything else."""
    return pretrained.open_session(pretrained.VERIFIER)
