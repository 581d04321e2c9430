"""Fit what each network's word counts, and compare the weights with those in use.

python -m research.fit_confidence --fonts FOLDER

The fonts must not be those that the networks were trained on, nor those of README's table. The
weights in use are from the Latin files of 16 packages of npm's @fontsource: architects-daughter,
caveat-brush, coming-soon, darumadrop-one, gaegu, handlee, just-another-hand, mansalva,
mrs-saint-delafield, nanum-pen-script, oooh-baby, rancho, ruthie, sedgwick-ave-display, sriracha and
sunshiney.

Two fits, each of the largest likelihood of what was rendered, hardly drawn to the weights in use:
which of the ten digits is in each place (`WHOLE` and `CUT` of `tiny_mnist.inference.confidence`),
and which of the divisions that are proposed for a row is read rightly with the former in use
(`EVIDENCE_WEIGHTS` of `tiny_mnist.inference.segmentation.reading`). A weight that would be
negative is 0 in use.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from research.handwriting import NOTHING, render_items
from research.pictures.digits import load_shapes
from tiny_mnist.inference.confidence import (
    CUT,
    WHOLE,
    Weights,
    combine_networks,
    is_narrow,
    merge_one_and_seven,
)
from tiny_mnist.inference.detect import (
    LARGE_SIDE,
    MAX_SCREEN_SIDE,
    find_best_reading,
    find_digits,
    resize,
)
from tiny_mnist.inference.image_io import RGBImage, to_rgb
from tiny_mnist.inference.ink_reading import find_hypothesis_ink
from tiny_mnist.inference.mnist_format import draw_mask
from tiny_mnist.inference.predictor import Network, pretrained_network
from tiny_mnist.inference.segmentation.components import find_components, find_rows
from tiny_mnist.inference.segmentation.reading import (
    EVIDENCE_WEIGHTS,
    Evidence,
    Proposal,
    RowReading,
    find_proposals,
    remove_objects,
    vary_text,
)
from tiny_mnist.inference.segmentation.slant import deslant

SEED = 40_000
PRIOR = 1e-4  # weight of the squared distance from the weights in use


class RowExample(NamedTuple):
    """The proposals for a row."""

    evidence: NDArray[np.float64]
    """Of each proposal, [proposals, 4]."""
    is_right: NDArray[np.bool_]
    """Whether the row is read rightly if it is divided so, [proposals]."""


class DigitExample(NamedTuple):
    """A digit of a picture and what the networks say of it; see `combine_networks`."""

    image: NDArray[np.uint8]
    """As in MNIST, [28, 28]."""
    probabilities: NDArray[np.float32]
    """Of the network, [10]."""
    verifier_log_probs: NDArray[np.float32]
    """Of the ten digits, [10]."""
    row_log_probs: NDArray[np.float32]
    """From the row reader, [10]."""
    is_row_cut: bool
    label: int
    """The digit that was rendered."""


def read_pictures(
    each: int, fonts: Path | None, seed: int
) -> tuple[list[RowExample], list[DigitExample]]:
    """The rows of numbers, and all digits, of pictures as in `research.handwriting`."""
    network = pretrained_network()
    rows: list[RowExample] = []
    digits: list[DigitExample] = []
    for kind, expected, picture in render_items(each, seed, load_shapes(fonts), fonts):
        if kind not in NOTHING:
            pixels = to_rgb(picture)
            digits += find_digit_examples(pixels, expected, network)
            rows += find_row_examples(pixels, expected, network) if len(expected) > 1 else []
    return rows, digits


def find_row_examples(picture: RGBImage, expected: str, network: Network) -> list[RowExample]:
    """The rows of a picture that may be divided so that they are read rightly, or otherwise."""
    large, _ = resize(picture, LARGE_SIDE)
    reading = find_best_reading(large, max(picture.shape[:2]) <= MAX_SCREEN_SIDE)
    if reading is None:
        return []
    ink = find_hypothesis_ink(large, reading.hypothesis)
    labels, parts = find_components(
        ink.mask, ink.segmentation.rim, reading.hypothesis.touches_border
    )
    parts = remove_objects(labels, parts)
    rows, texts = find_rows(parts) if parts else [], expected.split("\n")
    examples = []
    for row, text in zip(rows, texts, strict=False) if len(rows) == len(texts) else ():
        proposed = find_proposals(*deslant(labels, row)[:2])
        is_right = np.array(
            [read_proposal(proposed, one, network) == text for one in proposed.proposals]
        )
        if is_right.any() and not is_right.all():
            evidence = np.array([one.evidence for one in proposed.proposals])
            examples.append(RowExample(evidence, is_right))
    return examples


def read_proposal(reading: RowReading, proposal: Proposal, network: Network) -> str:
    """The digits of a row by all networks together, if it is divided as proposed."""
    chosen = proposal.division.candidates
    if not chosen:
        return ""
    images = np.stack([draw_mask(reading.candidates[index].mask) for index in chosen])
    weights = CUT if reading.is_cut(proposal.division) else WHOLE
    probabilities = [
        combine_networks(image, probability, verified[:10], row, weights)
        for image, probability, verified, row in zip(
            images,
            np.exp(network(images)),
            reading.scores[chosen],
            vary_text(reading.columns, proposal.text),
            strict=True,
        )
    ]
    return "".join(str(each.argmax()) for each in probabilities)


def find_digit_examples(
    picture: RGBImage, expected: str, network: Network
) -> Iterator[DigitExample]:
    """The digits of a picture, if as many are found as there are."""
    digits, labels = find_digits(picture), expected.replace("\n", "")
    if not digits or len(digits) != len(labels):
        return
    probabilities = np.exp(network(np.stack([digit.image for digit in digits])))
    for digit, probability, label in zip(digits, probabilities, labels, strict=True):
        yield DigitExample(
            digit.image,
            probability,
            digit.verifier_log_probs[:10],
            digit.row_log_probs,
            digit.is_row_cut,
            int(label),
        )


def minimize(loss: Callable[[Tensor], Tensor], start: tuple[float, ...]) -> list[float]:
    """The weights of the lowest loss, near those that the search starts from."""
    begin = torch.tensor(start, dtype=torch.double)
    weights = begin.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(weights) + PRIOR * ((weights - begin) ** 2).sum()
        value.backward()
        return float(value.detach())

    optimizer.step(closure)
    found: list[float] = weights.detach().tolist()
    return found


def fit_evidence(rows: list[RowExample]) -> Evidence:
    """The weights of the evidence for a text."""
    pairs = [tuple(map(torch.from_numpy, row)) for row in rows]

    def loss(weights: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.double)
        for evidence, is_right in pairs:
            scores = evidence @ weights
            total += scores.logsumexp(0) - scores[is_right].logsumexp(0)
        return total / len(pairs)

    return Evidence(*minimize(loss, EVIDENCE_WEIGHTS))


def fit_digits(examples: list[DigitExample], start: Weights) -> Weights:
    """The weights of the networks for each digit."""
    evidence = stack_evidence(examples)
    labels = torch.tensor([example.label for example in examples])

    def loss(weights: Tensor) -> Tensor:
        return F.cross_entropy(score_digits(evidence, weights), labels)

    found = minimize(loss, start._replace(floor=float(np.log(start.floor))))
    return Weights(*found)._replace(floor=float(np.exp(found[1])))


def stack_evidence(examples: list[DigitExample]) -> tuple[Tensor, ...]:
    """What the networks say of each digit, each [examples, 10]; see `combine_networks`.

    These are the network's probabilities and the verifier's log-probabilities; of the row reader's
    those in which 1 and 7 have their sum, and the differences from these; and 1 for a narrow 1.
    """
    row = stack([example.row_log_probs for example in examples])
    merged = row.clone()
    merged[:, [1, 7]] = torch.logaddexp(row[:, 1], row[:, 7])[:, None]
    merged *= row.any(dim=1, keepdim=True)  # 0 where the row reader was not asked
    narrow = torch.zeros_like(row)
    narrow[:, 1] = torch.tensor([float(is_narrow(example.image)) for example in examples])
    return (
        stack([merge_one_and_seven(example.probabilities) for example in examples]),
        stack([example.verifier_log_probs for example in examples]),
        merged,
        row - merged,
        narrow,
    )


def score_digits(evidence: tuple[Tensor, ...], weights: Tensor) -> Tensor:
    """The scores of `combine_networks`, [examples, 10].

    Args:
        evidence: from `stack_evidence`.
        weights: as in `Weights`, but the logarithm of the floor, [6].
    """
    probabilities, verifier, merged, rest, narrow = evidence
    network, log_floor, own, row, one_or_seven, bonus = weights
    scores: Tensor = network * (probabilities + log_floor.exp()).log() + own * verifier
    scores += row * merged + one_or_seven * rest + bonus * narrow
    return scores


def stack(arrays: list[NDArray[np.float32]]) -> Tensor:
    """As one tensor of double precision."""
    return torch.from_numpy(np.stack(arrays)).double()


def print_weights(name: str, fitted: Evidence | Weights, used: Evidence | Weights) -> None:
    """Each fitted weight beside the one in use."""
    for field, value, now in zip(fitted._fields, fitted, used, strict=True):
        print(f"{name + '.' + field:32} {value:7.4f}  in use {now:7.4f}")


def main() -> None:
    """Render, fit, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts")
    parser.add_argument("--each", type=int, default=12, help="pictures of each kind and seed")
    parser.add_argument("--seeds", type=int, default=6, help="of the pictures")
    parser.add_argument("--jobs", type=int, default=2, help="processes that read")
    options = parser.parse_args()
    read = partial(read_pictures, options.each, options.fonts)
    seeds = range(SEED, SEED + options.seeds)
    with ProcessPoolExecutor(options.jobs) as pool:
        found = list(track(pool.map(read, seeds), "reading pictures", len(seeds)))
    rows, digits = (list(chain(*part)) for part in zip(*found, strict=True))
    print(f"{len(rows)} rows of numbers that may be read rightly or wrong")
    print_weights("EVIDENCE_WEIGHTS", fit_evidence(rows), EVIDENCE_WEIGHTS)
    for name, is_cut, used in (("WHOLE", False, WHOLE), ("CUT", True, CUT)):
        part = [example for example in digits if example.is_row_cut == is_cut]
        print(f"{len(part)} digits of rows that are {'cut' if is_cut else 'not cut'}")
        print_weights(name, fit_digits(part, used), used)


if __name__ == "__main__":
    main()
