"""Which pieces of ink are one digit: over-segmentation, and the best way through the pieces.

A row is cut wherever two digits may touch. A network that knows ten digits and everything else,
the verifier, judges each run of neighbouring pieces; its cost as a digit is relative to that of
anything else, because divisions into few and into many pieces are compared. Another network, the
row reader, sees the row as a whole and need not divide it. The texts of the cheapest divisions and
the text of the row reader are proposals; the one that both networks together find likeliest is
taken, and the row is divided into its digits.
"""

from functools import cache
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import Box, draw_mask, stroke_width
from tiny_mnist.inference.paper import Mask
from tiny_mnist.inference.segmentation.components import (
    Component,
    Labels,
    Row,
    component_mask,
    find_components,
    find_objects,
    find_rows,
    is_cut_off,
    union_box,
)
from tiny_mnist.inference.segmentation.division import (
    MIN_HEIGHT,
    OTHER,
    Division,
    Step,
    cheapest_divisions,
    compare_with_other,
    is_offcut,
    lowest_cost,
    possible_steps,
    reading_costs,
)
from tiny_mnist.inference.segmentation.pieces import (
    Boundary,
    Candidate,
    find_boundaries,
    find_candidates,
    item_masks,
)
from tiny_mnist.inference.segmentation.row_reader import (
    decode_text,
    draw_strip,
    read_strip,
    text_log_probs,
)
from tiny_mnist.inference.segmentation.slant import deslant, slanted_box

if TYPE_CHECKING:
    import onnxruntime

MAX_WHOLE_COST = 0.7  # cost of an item as one digit up to which it is not split, unless wide
MIN_SPLIT_ASPECT = 1.05  # width / height above which an item is always split
MAX_ASPECT = 15.0  # width / height above which an item is a line
# A pen that fades or skips leaves a digit in pieces; if some stand above each other, they look like
# rows of digits. Of 1,392 rendered digits these two put 5 together, all rightly. Rows of digits as
# close to each other are taken for one digit, too, if they look like one: two zeros may be an 8.
MAX_BREAK = 0.04  # widest gap within a broken digit, in longer sides of all ink; at least 2 pixels
MIN_JOINED_PROBABILITY = 0.9  # of a digit in the joined strokes
MAX_BROKEN_PARTS = 12  # pieces of a broken digit; a page of numbers has more
MIN_OBJECT_PROBABILITY = 0.9  # of anything else, from which a solid shape is no digit
MAX_TEXT_COST = 50.0  # negative log-probability of a text that counts as the largest
MAX_COST_GAP = 12.0  # from the lowest cost, up to which the text of a division is a proposal


class Evidence(NamedTuple):
    """What tells whether a row shows a text; larger is likelier."""

    row_reader: float
    """The text's log-probability from the row reader, at least −50."""
    digits: float
    """The verifier's log-probabilities of the pieces as these digits, at least −9 each, summed."""
    shapes: float
    """How unlikely the verifier finds it that the pieces are anything else, summed: 0 to 5.1 each,
    as in `compare_with_other`."""
    division: float
    """Minus the cost of what is cut and left out."""


# Fitted by `python -m research.fit_confidence --fonts FOLDER`, with 16 fonts kept apart from
# training and from README's table: of the divisions of a row of which some are read rightly, the
# exponential of the weighted sum tells how probable each is.
EVIDENCE_WEIGHTS = Evidence(row_reader=0.62, digits=0.39, shapes=0.69, division=0.53)


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
    is_row_cut: bool
    """Whether ink was cut in its row."""
    row_log_probs: Float32[ndarray, "10"]
    """Log-probability, from the row reader, of the row's text with each of the ten digits in the
    place of this one; 0 where the row reader was not asked."""


class Proposal(NamedTuple):
    """A text that a row may show."""

    text: tuple[int, ...]
    division: Division
    """The cheapest one into this text."""
    evidence: Evidence

    @property
    def score(self) -> float:
        """The evidence together; larger is likelier."""
        return float(sum(map(mul, EVIDENCE_WEIGHTS, self.evidence)))


class RowReading(NamedTuple):
    """The pieces of a row, and the texts that it may show."""

    boundaries: list[Boundary]
    candidates: list[Candidate]
    scores: Float32[ndarray, "candidates 11"]
    """Log-probabilities of each candidate, from the verifier."""
    columns: Float[ndarray, "columns 11"]
    """Log-probabilities of the ten digits and of a blank, from the row reader."""
    proposals: list[Proposal]

    def is_cut(self, division: Division) -> bool:
        """Whether a division cuts ink that it takes for digits."""
        chosen = [self.candidates[index] for index in division.candidates]
        return any(is_offcut(self.boundaries, candidate) for candidate in chosen)


def find_row_digits(mask: Mask, rim: Mask, touches_border: bool) -> tuple[list[FoundDigit], float]:
    """All digits in reading order, and their mean cost; none if there is no ink.

    Args:
        mask: all ink.
        rim: the outermost pixels; what touches them is left out unless `touches_border`.
        touches_border: whether a digit may touch the rim.
    """
    labels, parts = find_components(mask, rim, touches_border)
    parts = remove_objects(labels, parts)
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
    if is_cut_off(labels, parts):
        found = [digit._replace(count_probability=0.0) for digit in found]
    return found, total / max(1, len(found))


def find_only_digit(mask: Mask, rim: Mask, touches_border: bool) -> tuple[list[FoundDigit], float]:
    """The only component as a digit, however unlike one it is, and its cost; none of several.

    Args: as for `find_row_digits`.
    """
    labels, parts = find_components(mask, rim, touches_border)
    if len(parts) != 1:
        return [], 0.0
    digit = make_whole_digit(parts[0].box, component_mask(labels, parts[0]))
    return [digit], lowest_cost(digit.verifier_log_probs)


def remove_objects(labels: Labels, parts: list[Component]) -> list[Component]:
    """The components without solid ones that are no digits, such as a pen beside a number."""
    found = find_objects(labels, parts)
    scores = score_masks([component_mask(labels, part) for part in found])
    is_other = scores[:, OTHER] > np.log(MIN_OBJECT_PROBABILITY)
    objects = [part for part, other in zip(found, is_other, strict=True) if other]
    return [part for part in parts if part not in objects]


def join_strokes(labels: Labels, parts: list[Component]) -> FoundDigit | None:
    """The digit that all ink shows once narrow gaps are filled; None unless it clearly is one."""
    box = union_box(parts)
    if box.width > MIN_SPLIT_ASPECT * box.height or len(parts) > MAX_BROKEN_PARTS:
        return None
    ink = np.isin(labels[box.top : box.bottom, box.left : box.right], [p.label for p in parts])
    reach = max(1, round(MAX_BREAK * box.size / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    padded = np.pad(ink, reach).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[reach:-reach, reach:-reach]
    if cv2.connectedComponents(closed)[0] != 2:  # the background counts as one
        return None
    joined = make_whole_digit(box, closed > 0)
    is_clear = np.exp(joined.verifier_log_probs[:OTHER].max()) >= MIN_JOINED_PROBABILITY
    return joined if is_clear else None


def make_whole_digit(box: Box, mask: Mask) -> FoundDigit:
    """The digit of some ink that is not divided."""
    (scores,) = score_masks([mask])
    return FoundDigit(box, mask, 0, scores, 1.0, False, np.zeros(10, np.float32))


def read_row(labels: Labels, row: Row, number: int) -> tuple[list[FoundDigit], float]:
    """The digits of one row from left to right, and the cost of all its ink.

    That cost is without the comparison of the digits with anything else, and not negative.
    """
    labels, row, shift = deslant(labels, row)
    reading = find_proposals(labels, row)
    proposals = reading.proposals
    best = max(proposals, key=lambda proposal: proposal.score)
    likelihoods = np.exp([each.score - best.score for each in proposals])
    same = [len(proposal.text) == len(best.text) for proposal in proposals]
    count_probability = float(likelihoods[same].sum() / likelihoods.sum())
    is_cut = reading.is_cut(best.division)
    variants = vary_text(reading.columns, best.text)
    digits = []
    for index, row_log_probs in zip(best.division.candidates, variants, strict=True):
        _, _, mask, box = reading.candidates[index]
        box = slanted_box(mask, box, shift)
        scores = reading.scores[index]
        digits.append(
            FoundDigit(box, mask, number, scores, count_probability, is_cut, row_log_probs)
        )
    return digits, best.division.cost + best.evidence.shapes


def find_proposals(labels: Labels, row: Row) -> RowReading:
    """The pieces of an upright row, and the texts that it may show."""
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
    columns = read_strip(draw_strip(labels, row))
    proposals = propose_texts(steps, len(boundaries), scores, columns)
    return RowReading(boundaries, candidates, scores, columns, proposals)


def propose_texts(
    steps: list[Step],
    boundaries: int,
    scores: Float32[ndarray, "candidates 11"],
    columns: Float[ndarray, "columns 11"],
) -> list[Proposal]:
    """The texts of the cheapest divisions of a row, and the one that the row reader reads.

    Args:
        steps: of the row.
        boundaries: how many there are.
        scores: log-probabilities of each candidate, from the verifier.
        columns: what the row reader says of the row.
    """
    costs = reading_costs(scores)
    any_digit = np.repeat(costs.min(axis=1, keepdims=True), boundaries - 1, axis=1)
    divisions = cheapest_divisions(steps, boundaries, any_digit)
    limit = min(division.cost for division in divisions) + MAX_COST_GAP
    texts = {
        tuple(costs[division.candidates].argmin(axis=1).tolist()): division
        for division in divisions
        if division.cost <= limit
    }
    read = tuple(decode_text(columns))
    if read not in texts:
        *_, last = [None, *cheapest_divisions(steps, boundaries, costs[:, list(read)])]
        if last is not None and len(last.candidates) == len(read):
            texts[read] = last
    return [
        Proposal(text, division, collect_evidence(text, division, scores, columns))
        for text, division in texts.items()
    ]


def collect_evidence(
    text: tuple[int, ...],
    division: Division,
    scores: Float32[ndarray, "candidates 11"],
    columns: Float[ndarray, "columns 11"],
) -> Evidence:
    """What tells whether a row shows a text."""
    chosen = scores[division.candidates]
    digits = float(reading_costs(chosen)[np.arange(len(text)), list(text)].sum())
    shapes = -sum(compare_with_other(each) for each in chosen)
    rest = division.cost - digits + shapes
    return Evidence(text_log_prob(columns, text), -digits, shapes, -rest)


def text_log_prob(columns: Float[ndarray, "columns 11"], text: tuple[int, ...]) -> float:
    """Log-probability of a text, from the row reader, at least −`MAX_TEXT_COST`."""
    return max(float(text_log_probs(columns, np.array([text], int))[0]), -MAX_TEXT_COST)


def vary_text(
    columns: Float[ndarray, "columns 11"], text: tuple[int, ...]
) -> Float32[ndarray, "digits 10"]:
    """Log-probability of a text with each digit in each place, from the row reader.

    0 if the text is too long for it.
    """
    count = len(text)
    texts = np.repeat(np.array([text], int), 10 * count, axis=0)
    texts[np.arange(10 * count), np.repeat(np.arange(count), 10)] = np.tile(np.arange(10), count)
    found = text_log_probs(columns, texts) if count else np.zeros(0)
    found = found.reshape(count, 10)
    highest = found.max(axis=1, keepdims=True)
    lowest = np.where(np.isfinite(highest), highest - MAX_TEXT_COST, 0.0)
    return np.asarray(np.maximum(found, lowest), np.float32)


def is_splittable(log_probs: Float32[ndarray, "11"], box: Box, height: float) -> bool:
    """Whether an item of a row may be several digits that touch; a line below them is none."""
    if box.height < MIN_HEIGHT * height or box.width > MAX_ASPECT * box.height:
        return False
    if box.width > MIN_SPLIT_ASPECT * max(box.height, 0.7 * height):
        return True
    return box.width > 0.4 * height and lowest_cost(log_probs) > MAX_WHOLE_COST


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
