"""Which pieces of ink are one digit: over-segmentation, and the best way through the pieces.

A row is cut wherever two digits may touch. A network that knows ten digits and everything else
(`pretrained/verifier.onnx`) judges each run of neighbouring pieces, and dynamic programming finds
the division of the row into digits and left-out pieces whose costs are lowest. A cost is a negative
log-probability.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import Box, draw_mask
from tiny_mnist.inference.paper import Mask
from tiny_mnist.inference.segmentation.components import (
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

MAX_WHOLE_COST = 0.7  # cost of an item as one digit up to which it is not split, unless wide
MIN_SPLIT_ASPECT = 1.05  # width / height above which an item is always split
MAX_ASPECT = 15.0  # width / height above which an item is a line
MIN_HEIGHT = 0.3  # height of an item, in row heights, below which it is a line or a dash
MAX_COST = 9.0  # of one digit, however little it looks like one
CUT_COST = 1.5, 0.8  # of a cut, and for each width of the stroke that is cut through
SKIP_COST = 0.8, 7.0  # of leaving a piece out: of any, and of one as high as the row
DIGIT_WIDTH = 0.7  # in heights of the row: a wider piece that is left out counts as several


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
    found: list[FoundDigit] = []
    total, number = 0.0, 0
    for row in find_rows(parts):
        digits, cost = read_row(labels, row, number)
        number += bool(digits)
        found += digits
        total += cost
    return found, total / max(1, len(found))


def read_row(labels: Labels, row: Row, number: int) -> tuple[list[FoundDigit], float]:
    """The digits of one row from left to right, and the cost of all its ink."""
    labels, row, shift = deslant(labels, row)
    masks = item_masks(labels, row)
    splittable = [
        is_splittable(score, union_box(item), row.height)
        for item, score in zip(row.parts, score_masks(masks), strict=True)
    ]
    boundaries = find_boundaries(masks, splittable)
    candidates = find_candidates(boundaries, masks, row)
    scores = score_masks([candidate.mask for candidate in candidates])
    steps = possible_steps(boundaries, candidates, scores, row.height)
    chosen, cost, count_probability = cheapest_steps(steps, len(boundaries))
    digits = []
    for index in chosen:
        _, _, mask, box = candidates[index]
        box = slanted_box(mask, box, shift)
        digits.append(FoundDigit(box, mask, number, scores[index], count_probability))
    return digits, cost


def possible_steps(
    boundaries: list[Boundary],
    candidates: list[Candidate],
    scores: Float32[ndarray, "n 11"],
    height: float,
) -> list[Step]:
    """Every candidate as a digit and as something left out, ordered by its last boundary.

    Args:
        boundaries: of the row.
        candidates: of the row.
        scores: log-probabilities of each candidate.
        height: of the row, in pixels.
    """
    steps = []
    for index, (candidate, score) in enumerate(zip(candidates, scores, strict=True)):
        first, last, _, box = candidate
        cut = cut_cost(boundaries[first])
        steps.append(Step(first, last, cut + digit_cost(score, box, height), index))
        steps.append(Step(first, last, cut + skip_cost(box, height), None))
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
    return box.width > 0.4 * height and digit_cost(log_probs, box, height) > MAX_WHOLE_COST


def cut_cost(boundary: Boundary) -> float:
    """Cost of dividing a row."""
    return 0.0 if boundary.right is None else CUT_COST[0] + CUT_COST[1] * boundary.crossing


def digit_cost(log_probs: Float32[ndarray, "11"], box: Box, height: float) -> float:
    """Cost of taking a run of pieces for a digit.

    Args:
        log_probs: of the ten digits and of anything else.
        box: around the pieces.
        height: of the row, in pixels.
    """
    cost = min(-float(log_probs[:10].max()), MAX_COST)
    low = max(0.0, 0.38 - box.height / height)
    wide = max(0.0, box.width / box.height - 1.0)
    return cost + 12 * low + 3 * wide


def skip_cost(box: Box, height: float) -> float:
    """Cost of leaving a piece out, which is large for one as high as the row and a wide one."""
    part = min(1.0, max(box.height, 0.6 * box.width) / height)
    digits = (
        1.0 if box.height < MIN_HEIGHT * height else max(1.0, box.width / (DIGIT_WIDTH * height))
    )
    return SKIP_COST[0] + SKIP_COST[1] * max(0.0, part - 0.3) * digits


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
