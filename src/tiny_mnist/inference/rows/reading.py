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
from tiny_mnist.inference.rows.components import Labels, Row, find_components, find_rows, union_box
from tiny_mnist.inference.rows.pieces import Boundary, find_boundaries, find_candidates, item_masks
from tiny_mnist.inference.rows.slant import deslant, slanted_box

if TYPE_CHECKING:
    import onnxruntime

CERTAIN = 0.7  # a component whose cost is lower is not cut, unless it is wide
WIDE = 1.05  # width of a component, in its heights, above which it is always cut
MAX_COST = 9.0  # of one digit, however little it looks like one
CUT_COST = 1.5, 0.8  # of a cut, and for each width of the stroke that is cut through
SKIP_COST = 0.8, 7.0  # of leaving a piece out: of any, and of one as high as the row


class Way(NamedTuple):
    """The cheapest division of a row from its left end to a boundary."""

    cost: float
    first: int
    """The boundary before."""
    candidate: int | None
    """Number of the candidate that is a digit; None if what lies between is left out."""


class FoundDigit(NamedTuple):
    """One digit of a picture."""

    box: Box
    mask: Mask
    """Its ink, upright if the row is slanted."""
    row: int
    """From the top, starting at 0."""
    verifier: Float32[ndarray, "11"]
    """Log-probabilities of the ten digits and of anything else."""


def find_row_digits(mask: Mask, rim: Mask, cut: bool) -> tuple[list[FoundDigit], float]:
    """All digits in reading order, and their mean cost; none if there is no ink.

    Args:
        mask: all ink.
        rim: the outermost pixels; what touches them is left out unless `cut`.
        cut: whether a digit may touch the rim.
    """
    labels, parts = find_components(mask, rim, cut)
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
    wanted = [
        may_touch(score, union_box(item), row.height)
        for item, score in zip(row.parts, verify(masks), strict=True)
    ]
    boundaries = find_boundaries(masks, wanted)
    candidates = find_candidates(boundaries, masks, row)
    scores = verify([candidate.mask for candidate in candidates])
    best: list[Way] = [Way(0.0, 0, None), *[Way(np.inf, 0, None) for _ in boundaries[1:]]]
    arriving: list[list[int]] = [[] for _ in boundaries]
    for index, candidate in enumerate(candidates):
        arriving[candidate.last].append(index)
    for last in range(1, len(boundaries)):
        options = [Way(best[last - 1].cost, last - 1, None)]  # there may be no ink between
        for index in arriving[last]:
            first, _, _, box = candidates[index]
            before = best[first].cost + cut_cost(boundaries[first])
            options.append(Way(before + digit_cost(scores[index], box, row.height), first, index))
            options.append(Way(before + skip_cost(box, row.height), first, None))
        best[last] = min(options[1:] or options, key=lambda way: way.cost)
    digits: list[FoundDigit] = []
    last = len(boundaries) - 1
    while last:
        chosen = best[last].candidate
        if chosen is not None:
            _, _, mask, box = candidates[chosen]
            digits.append(FoundDigit(slanted_box(mask, box, shift), mask, number, scores[chosen]))
        last = best[last].first
    return digits[::-1], best[-1].cost


def may_touch(log_probs: Float32[ndarray, "11"], box: Box, height: float) -> bool:
    """Whether an item of a row may be several digits that touch."""
    if box.width > WIDE * max(box.height, 0.7 * height):
        return True
    return box.width > 0.4 * height and digit_cost(log_probs, box, height) > CERTAIN


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
    low = max(0.0, 0.45 - box.height / height)
    wide = max(0.0, box.width / box.height - 1.0)
    return cost + 12 * low + 3 * wide


def skip_cost(box: Box, height: float) -> float:
    """Cost of leaving a piece out, which is large for one as high as the row."""
    part = min(1.0, max(box.height, 0.6 * box.width) / height)
    return SKIP_COST[0] + SKIP_COST[1] * max(0.0, part - 0.3)


def verify(masks: list[ndarray]) -> Float32[ndarray, "n 11"]:
    """Log-probabilities of the ten digits and of anything else, for shapes of ink."""
    if not masks:
        return np.zeros((0, 11), np.float32)
    return verify_images(np.stack([draw_mask(mask) for mask in masks]))


def verify_images(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 11"]:
    """Log-probabilities of the ten digits and of anything else, for images as in MNIST."""
    session = verifier()
    (log_probs,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(log_probs, np.float32)


@cache
def verifier() -> "onnxruntime.InferenceSession":
    """The network that tells digits from everything else."""
    return pretrained.open_session(pretrained.VERIFIER)
