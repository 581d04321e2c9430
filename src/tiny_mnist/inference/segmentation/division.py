"""Ways to divide a row into digits, and what each costs: the cheapest paths through its pieces.

A cost is a negative log-probability, up to a constant of the row.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from tiny_mnist.inference.segmentation.pieces import Boundary, Candidate

OTHER = 10  # the verifier's class of everything that is not one digit
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


class Step(NamedTuple):
    """One step in the division of a row: from one boundary to another."""

    first: int
    last: int
    """Numbers of the boundaries."""
    cost: float
    """Without the cost of the digit that a candidate is read as."""
    candidate: int | None
    """Number of the candidate that is a digit; None if what lies between is left out."""


class Division(NamedTuple):
    """A way to divide a row."""

    cost: float
    """Of the whole row."""
    candidates: list[int]
    """Numbers of the candidates that are digits, from left to right."""


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
            steps.append(Step(first, last, cut + compare_with_other(score), index))
        steps.append(Step(first, last, cut + skip, None))
    reached = {step.last for step in steps}
    empty = [last for last in range(1, len(boundaries)) if last not in reached]
    steps += [Step(last - 1, last, 0.0, None) for last in empty]  # there is no ink between
    return sorted(steps, key=lambda step: step.last)


def cheapest_divisions(
    steps: list[Step], boundaries: int, digit_costs: Float[ndarray, "candidates places"]
) -> list[Division]:
    """The cheapest division of a row into each possible number of digits, by dynamic programming.

    Args:
        steps: ordered by their last boundary.
        boundaries: how many there are.
        digit_costs: of each candidate as the first digit of the row, as the second, and so on, for
            as many digits as there may be.
    """
    places = digit_costs.shape[1]
    costs = np.full((boundaries, places + 1), np.inf)  # by boundary and number of digits before it
    costs[0, 0] = 0.0
    origin = np.full(costs.shape, -1)
    for number, step in enumerate(steps):
        cost = costs[step.first] + step.cost
        if step.candidate is not None:
            cost = np.concatenate([[np.inf], cost[:-1] + digit_costs[step.candidate]])
        better = cost < costs[step.last]
        costs[step.last, better] = cost[better]
        origin[step.last, better] = number
    costs[-1, 0] += EMPTY_COST
    return [
        Division(float(costs[-1, count]), trace_back(steps, origin, int(count)))
        for count in np.flatnonzero(np.isfinite(costs[-1]))
    ]


def trace_back(steps: list[Step], origin: ndarray, count: int) -> list[int]:
    """The candidates of a division into so many digits.

    Args:
        steps: of the row.
        origin: number of the step to each boundary, by the number of digits before it.
        count: number of digits.
    """
    chosen = []
    last = len(origin) - 1
    while last:
        step = steps[origin[last, count]]
        if step.candidate is not None:
            chosen.append(step.candidate)
            count -= 1
        last = step.first
    return chosen[::-1]


def cut_cost(boundary: Boundary) -> float:
    """Cost of dividing a row."""
    return 0.0 if boundary.right is None else CUT_COST[0] + CUT_COST[1] * boundary.crossing


def is_offcut(boundaries: list[Boundary], candidate: Candidate) -> bool:
    """Whether a piece was cut off at either end."""
    return any(boundaries[end].right is not None for end in (candidate.first, candidate.last))


def reading_costs(log_probs: Float32[ndarray, "n 11"]) -> Float32[ndarray, "n 10"]:
    """Cost of reading each shape as each of the ten digits."""
    return np.asarray(np.minimum(-log_probs[:, :OTHER], MAX_COST), np.float32)


def lowest_cost(log_probs: Float32[ndarray, "11"]) -> float:
    """Cost of reading a shape as the likeliest digit."""
    return float(reading_costs(log_probs[None]).min())


def compare_with_other(log_probs: Float32[ndarray, "11"]) -> float:
    """Cost of taking a shape for a digit: lower where it is unlikely to be anything else."""
    return OTHER_WEIGHT * max(float(log_probs[OTHER]), -MAX_COST)
