"""Fit the costs by which a row is divided into digits, and compare them with those in use.

python -m research.fit_row_costs --fonts FOLDER

A division of a row into digits and left-out pieces is a path through its pieces. The fit is that of
a semi-Markov conditional random field (S. Sarawagi and W. W. Cohen, *Semi-Markov conditional random
fields for information extraction*, 2004): of all paths through rendered rows, those that have every
digit get the highest probability. A cost of `tiny_mnist.inference.segmentation.division` is a
negative weight of it, in units of the weight of a digit's log-probability.

The costs in use are from an earlier fit to other rows. Those of this one read some more numbers and
some fewer single digits, and are therefore not in use.
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from research.pictures.digits import load_shapes
from research.pictures.labelled import Ink, LabelledRow, render_rows
from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.segmentation import division, reading
from tiny_mnist.inference.segmentation.division import OTHER

SEED = 30_000
MAX_LOST = 0.25  # of a digit's ink: a piece with more of it is not left out on a right path
PRIOR = 1e-3  # weight of the squared weights
IMPOSSIBLE = -1e4  # score of a step that is on no right path
NAMES = (
    "OTHER_WEIGHT",
    "CUT_COST, a cut",
    "CUT_COST, a stroke's width",
    "SKIP_COST, any piece",
    "SKIP_COST, a stroke as long as the row is high",
    "OFFCUT_COST",
)
IN_USE = division.OTHER_WEIGHT, *division.CUT_COST, *division.SKIP_COST, division.OFFCUT_COST


class Lattice(NamedTuple):
    """The steps of all paths through a row, ordered by their last boundary."""

    first: Tensor
    """Number of the boundary where each step begins, [steps]."""
    ends: list[slice]
    """The steps that end at each boundary but the first."""
    log_probs: Tensor
    """Of the ten digits, [steps, 10]; 0 where a piece is left out."""
    is_digit: Tensor
    """Whether a step is a digit, [steps]."""
    features: Tensor
    """What the costs are multiplied by, [steps, 6], in the order of `NAMES`."""
    label: Tensor
    """The right digit of a step, [steps]; 0 where a piece is left out."""
    is_right: Tensor
    """Whether a step is on a right path, [steps]."""


def render_lattices(count: int, fonts: Path | None) -> Iterator[Lattice]:
    """Rendered rows that can be divided rightly."""
    shapes = load_shapes(fonts)
    rng = np.random.default_rng(SEED)
    names = list(shapes)
    for _ in track(range(count), "rendering"):
        rows = list(render_rows(shapes[names[rng.integers(len(names))]], rng, is_split))
        if len(rows) == 1:
            lattice = build_lattice(rows[0])
            if score_paths(lattice, torch.ones(7), right=True) > IMPOSSIBLE / 2:
                yield lattice


def is_split(mask: Ink, box: Box, height: float) -> bool:
    """Whether the reader splits an item."""
    return reading.is_splittable(reading.score_masks([mask])[0], box, height)


def build_lattice(row: LabelledRow) -> Lattice:
    """Every candidate as a digit and as something left out."""
    scores = reading.score_masks([candidate.mask for candidate in row.candidates])
    steps: list[tuple[int, int, NDArray[np.float32], bool, list[float], int, bool]] = []
    for candidate, score in zip(row.candidates, scores, strict=True):
        first, last, mask, label, whole = candidate
        start, end = row.boundaries[first], row.boundaries[last]
        cut = [float(start.right is not None), start.crossing if start.right is not None else 0.0]
        offcut = float(start.right is not None or end.right is not None)
        length = float(mask.sum()) / (row.height * row.stroke)
        other = max(float(score[OTHER]), -division.MAX_COST)
        is_right = 0 <= label < OTHER
        as_digit = [other, *cut, 0.0, 0.0, 0.0]
        left_out = [0.0, *cut, 1.0, length, offcut]
        if mask.shape[0] >= division.MIN_HEIGHT * row.height:
            number = max(label, 0) % OTHER
            steps.append((last, first, score[:OTHER], True, as_digit, number, is_right))
        steps.append((last, first, 0 * score[:OTHER], False, left_out, 0, whole < MAX_LOST))
    reached = {step[0] for step in steps}
    for last in set(range(1, len(row.boundaries))) - reached:
        nothing = np.zeros(OTHER, np.float32)
        steps.append((last, last - 1, nothing, False, [0.0] * len(NAMES), 0, True))
    steps.sort(key=lambda step: step[0])
    lasts, firsts, log_probs, is_digit, features, labels, are_right = zip(*steps, strict=True)
    ends = np.searchsorted(lasts, np.arange(1, len(row.boundaries) + 1))
    return Lattice(
        torch.tensor(firsts),
        [slice(*pair) for pair in pairwise(ends.tolist())],
        torch.tensor(np.stack(log_probs)),
        torch.tensor(is_digit),
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(labels),
        torch.tensor(are_right),
    )


def score_paths(row: Lattice, weights: Tensor, right: bool) -> Tensor:
    """Logarithm of the sum over paths of the exponential of their scores.

    Args:
        row: of n boundaries.
        weights: of a digit's log-probability and of the features, [7].
        right: whether only the right paths count.
    """
    log_probs = weights[0] * row.log_probs
    if right:
        digit = log_probs.gather(1, row.label[:, None])[:, 0]
    else:
        digit = torch.where(row.is_digit, log_probs.logsumexp(dim=1), 0)
    scores = digit + row.features @ weights[1:]
    if right:
        scores = torch.where(row.is_right, scores, IMPOSSIBLE)
    until = [torch.zeros(())]
    for steps in row.ends:
        before = torch.stack([until[first] for first in row.first[steps].tolist()])
        until.append(torch.logsumexp(before + scores[steps], dim=0))
    return until[-1]


def fit(rows: list[Lattice], iterations: int) -> Tensor:
    """The weights of the largest likelihood of the right paths, as in `score_paths`."""
    weights = torch.tensor([1.0, *(-cost for cost in IN_USE)], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=iterations, max_eval=2 * iterations, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        total = 0.0
        for row in rows:
            loss = score_paths(row, weights, right=False) - score_paths(row, weights, right=True)
            (loss / len(rows)).backward()
            total += float(loss.detach()) / len(rows)
        prior = PRIOR * (weights**2).sum()
        prior.backward()
        loss_with_prior = total + float(prior.detach())
        print(f"loss: {loss_with_prior:.4f}", flush=True)
        return loss_with_prior

    optimizer.step(closure)
    return weights.detach()


def main() -> None:
    """Render, fit, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--rows", type=int, default=900, help="rendered rows")
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    rows = list(render_lattices(options.rows, options.fonts))
    print(f"{len(rows)} of {options.rows} rows can be divided rightly")
    own, *others = fit(rows, options.iterations).tolist()
    for name, weight, used in zip(NAMES, others, IN_USE, strict=True):
        print(f"{name:48} {-weight / own:5.2f}  in use {used:5.2f}")


if __name__ == "__main__":
    main()
