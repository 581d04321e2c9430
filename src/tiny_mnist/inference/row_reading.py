"""Which pieces of ink are one digit: over-segmentation, and the best way through the pieces.

A row is cut wherever two digits may touch. A network that knows ten digits and everything else
(`pretrained/verifier.onnx`) judges each run of neighbouring pieces, and dynamic programming finds
the division of the row into digits and left-out pieces whose costs are lowest. A cost is a negative
log-probability.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8
from numpy import ndarray

from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import Box, bounding_box, draw_mask
from tiny_mnist.inference.paper import Mask
from tiny_mnist.inference.segmentation import (
    Component,
    Labels,
    Row,
    find_components,
    find_cuts,
    find_rows,
    union_box,
)

if TYPE_CHECKING:
    import onnxruntime

MAX_PIECES = 7  # of one digit
MAX_WIDTH = 1.45  # of a digit, in heights of the row
CERTAIN = 0.7  # a component whose cost is lower is not cut, unless it is wide
WIDE = 1.05  # width of a component, in its heights, above which it is always cut
USUAL_SLANT = 0.1  # of the digits that the networks know
MAX_COST = 9.0  # of one digit, however little it looks like one
CUT_COST = 1.5, 0.8  # of a cut, and for each width of the stroke that is cut through
SKIP_COST = 0.8, 7.0  # of leaving a piece out: of any, and of one as high as the row


class Candidate(NamedTuple):
    """A run of pieces that may be a digit."""

    first: int
    last: int
    """Exclusive."""
    mask: Mask
    box: Box
    """Of the mask in the picture."""


class Piece(NamedTuple):
    """A smallest part of a row that is not divided further."""

    label: int
    box: Box
    cut: float
    """Cost of the cut to the piece on its left; 0 if they are separate components."""


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
    """The digits of one row from left to right, and the cost of all its pieces."""
    labels, row, shift = deslant(labels, row)
    pieces, pixels = find_pieces(labels, row)
    candidates = find_candidates(pieces, pixels, row.height)
    scores = verify([candidate.mask for candidate in candidates])
    ending: list[list[tuple[int, float]]] = [[] for _ in range(len(pieces) + 1)]
    for index, candidate in enumerate(candidates):
        cost = digit_cost(scores[index], candidate.box, row.height) + pieces[candidate.first].cut
        ending[candidate.last].append((index, cost))
    best: list[tuple[float, int | None]] = [(0.0, None)]
    for end in range(1, len(pieces) + 1):
        last = pieces[end - 1]
        skipped = best[end - 1][0] + skip_cost(last.box, row.height) + last.cut
        options: list[tuple[float, int | None]] = [(skipped, None)]
        options += [(best[candidates[i].first][0] + cost, i) for i, cost in ending[end]]
        best.append(min(options, key=lambda option: option[0]))
    digits: list[FoundDigit] = []
    end = len(pieces)
    while end:
        chosen = best[end][1]
        if chosen is None:
            end -= 1
            continue
        candidate = candidates[chosen]
        box = slanted_box(candidate, shift)
        digits.append(FoundDigit(box, candidate.mask, number, scores[chosen]))
        end = candidate.first
    return digits[::-1], best[-1][0]


def deslant(
    labels: Labels, row: Row
) -> tuple[Int32[ndarray, "height newwidth"], Row, Int[ndarray, " height"]]:
    """The ink of a row of several digits with upright strokes.

    The slant is the median over components that are of a digit's size.

    Returns:
        The labels, moved; the row with its new boxes; how many columns each image row was moved
        to the right.
    """
    parts = [part for item in row.parts for part in item]
    box = union_box(parts)
    shift = np.zeros(labels.shape[0], int)
    inside = labels[box.top : box.bottom, box.left : box.right]
    mask = np.isin(inside, [part.label for part in parts])
    slants = [slant_of(labels, part) for part in parts if is_digit_size(part.box, row.height)]
    slant = float(np.median(slants)) if len(slants) > 1 else USUAL_SLANT
    if abs(slant - USUAL_SLANT) < 0.1:
        return np.where(np.isin(labels, [part.label for part in parts]), labels, 0), row, shift
    middle = (box.top + box.bottom) / 2
    shift = np.round((slant - USUAL_SLANT) * (np.arange(labels.shape[0]) - middle)).astype(int)
    margin = int(np.abs(shift[box.top : box.bottom]).max()) + 1
    moved = np.zeros((labels.shape[0], labels.shape[1] + 2 * margin), labels.dtype)
    for y in range(box.top, box.bottom):
        left = box.left + margin + shift[y]
        moved[y, left : left + box.width] = np.where(mask[y - box.top], inside[y - box.top], 0)
    boxes = {}
    for part in parts:
        at = bounding_box(moved == part.label)
        boxes[part.label] = part._replace(box=at)
    items = [[boxes[part.label] for part in item] for item in row.parts]
    items.sort(key=lambda item: sum(union_box(item)[::2]))
    return moved, Row(items, row.height), shift + margin


def is_digit_size(box: Box, height: float) -> bool:
    """Whether a component of this size is likely to be one digit."""
    return 0.6 * height < box.height < 1.4 * height and box.width < 1.1 * height


def slant_of(labels: Labels, part: Component) -> float:
    """Slant of one digit by its moments: columns to the right for one row up."""
    box = part.box
    y, x = np.nonzero(labels[box.top : box.bottom, box.left : box.right] == part.label)
    covariance = float(np.cov(x, y, bias=True)[0, 1])
    return -covariance / max(float(y.var()), 1e-6)


def slanted_box(candidate: Candidate, shift: Int[ndarray, " height"]) -> Box:
    """The box of a candidate in the picture before it was deslanted."""
    box = candidate.box
    if not shift.any():
        return box
    y, x = np.nonzero(candidate.mask)
    columns = x + box.left - shift[y + box.top]
    return Box(int(columns.min()), box.top, int(columns.max()) + 1, box.bottom)


def find_pieces(labels: Labels, row: Row) -> tuple[list[Piece], Labels]:
    """The row's smallest parts from left to right, and which pixel belongs to which."""
    pixels = np.zeros_like(labels)
    masks = []
    for item in row.parts:
        box = union_box(item)
        inside = labels[box.top : box.bottom, box.left : box.right]
        masks.append(np.isin(inside, [part.label for part in item]))
    whole = verify(masks)
    pieces: list[Piece] = []
    for item, mask, score in zip(row.parts, masks, whole, strict=True):
        box = union_box(item)
        width = box.width / max(box.height, 0.7 * row.height)
        cost = digit_cost(score, box, row.height)
        wanted = width > WIDE or (cost > CERTAIN and box.width > 0.4 * row.height)
        cuts = find_cuts(mask) if wanted else []
        columns = np.arange(mask.shape[1])
        side = np.zeros(mask.shape, int)
        for cut in cuts:
            side += columns[None] >= cut.columns[:, None]
        area = pixels[box.top : box.bottom, box.left : box.right]
        for number in range(len(cuts) + 1):
            part = mask & (side == number)
            if part.sum() < 4:
                continue
            label = len(pieces) + 1
            area[part] = label
            inner = bounding_box(part)
            place = Box(
                box.left + inner.left,
                box.top + inner.top,
                box.left + inner.right,
                box.top + inner.bottom,
            )
            crossing = CUT_COST[0] + CUT_COST[1] * cuts[number - 1].crossing if number else 0.0
            pieces.append(Piece(label, place, crossing))
    return pieces, pixels


def find_candidates(pieces: list[Piece], pixels: Labels, height: float) -> list[Candidate]:
    """Every run of neighbouring pieces that is no wider than a digit."""
    candidates = []
    for first in range(len(pieces)):
        box = pieces[first].box
        for last in range(first + 1, min(first + MAX_PIECES, len(pieces)) + 1):
            added = pieces[last - 1].box
            if last > first + 1 and added.left - box.right > 0.25 * height:
                break
            box = box.union(added)
            if last > first + 1 and box.width > MAX_WIDTH * height:
                break
            inside = pixels[box.top : box.bottom, box.left : box.right]
            mask = (inside > first) & (inside <= last)
            candidates.append(Candidate(first, last, mask, box))
    return candidates


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
