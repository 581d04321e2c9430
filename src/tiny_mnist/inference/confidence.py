"""What the network, the verifier and the row reader together say of a digit."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

# Of MNIST's training images, 65 % of the 1s and 0.9 % of the 7s are narrower.
MAX_NARROW_ASPECT = 0.46  # width / height below which a shape is likelier a 1 than a 7


class Weights(NamedTuple):
    """What each network's word counts."""

    network: float
    """Factor of the network's log-probabilities."""
    floor: float
    """Added to the network's probabilities, so that no digit is out of the question."""
    verifier: float
    """Factor of the verifier's log-probabilities."""
    row_reader: float
    """Factor of the row reader's log-probabilities; of 1 and 7, of their sum."""
    one_or_seven: float
    """Factor of the row reader's log-probabilities of 1 and 7 within their sum."""
    narrow_one: float
    """Added to the logarithm of a narrow 1's probability."""


# Both are fitted by `python -m research.fit_confidence --fonts FOLDER`, with 16 fonts kept apart
# from training and from README's table, strokes, and MNIST's training images. In rows whose ink was
# cut, pieces lack a part of their digit or have one of another: the network and the verifier are
# sure of what they see, so that the row reader counts most. `narrow_one` of `WHOLE` is of a fit
# with 16 other fonts (1.56 in the last one): a 1 with a short hook, which few fonts have, needs it.
WHOLE = Weights(0.53, 0.051, 0.50, 0.27, 0.37, 3.13)
CUT = Weights(0.13, 0.0001, 0.33, 1.14, 0.79, 0.58)


def combine_networks(
    image: UInt8[ndarray, "28 28"],
    probabilities: Float32[ndarray, "10"],
    verifier_log_probs: Float32[ndarray, "10"],
    row_log_probs: Float32[ndarray, "10"],
    weights: Weights,
) -> Float32[ndarray, "10"]:
    """The probability of each digit, by all networks together.

    Which of 1 and 7 it is, the others and the width decide: hardly any 1 of MNIST has a hook, and
    the network takes such a 1 for a 7.

    Args:
        image: what the network saw.
        probabilities: of the network.
        verifier_log_probs: of the verifier.
        row_log_probs: of the row's text with each digit, from the row reader; 0 where it was not
            asked.
        weights: of the networks.
    """
    scores = np.log(merge_one_and_seven(probabilities) + weights.floor) * weights.network
    scores[1] += weights.narrow_one * is_narrow(image)
    scores += weights.verifier * verifier_log_probs
    if row_log_probs.any():
        merged = row_log_probs.copy()
        merged[[1, 7]] = np.logaddexp(row_log_probs[1], row_log_probs[7])
        scores += weights.row_reader * merged + weights.one_or_seven * (row_log_probs - merged)
    likelihoods = np.exp(scores - scores.max())
    return np.asarray(likelihoods / likelihoods.sum(), np.float32)


def merge_one_and_seven(probabilities: Float32[ndarray, "10"]) -> Float32[ndarray, "10"]:
    """The probabilities with those of 1 and 7 both replaced by their sum."""
    merged = probabilities.copy()
    merged[[1, 7]] = probabilities[[1, 7]].sum()
    return merged


def is_narrow(image: UInt8[ndarray, "28 28"]) -> bool:
    """Whether a shape is as narrow as a 1 is."""
    ink = image >= image.max() / 4
    height, width = (np.ptp(np.flatnonzero(ink.any(axis))) + 1 for axis in (1, 0))
    return bool(width < MAX_NARROW_ASPECT * height)
