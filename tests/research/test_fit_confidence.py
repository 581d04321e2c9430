"""The fit of what each network's word counts."""

import numpy as np
import pytest
import torch
from research.fit_confidence import (
    DigitExample,
    RowExample,
    fit_digits,
    fit_evidence,
    score_digits,
    stack_evidence,
)

from tiny_mnist.inference.confidence import CUT, WHOLE, Weights, combine_networks


def normalize(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores - np.logaddexp.reduce(scores), np.float32)


@pytest.mark.parametrize("weights", [WHOLE, CUT])
@pytest.mark.parametrize("width", [5, 16])
@pytest.mark.parametrize("is_asked", [True, False])
def test_what_is_fitted_is_what_is_used(weights: Weights, width: int, is_asked: bool) -> None:
    rng = np.random.default_rng(width)
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 6 : 6 + width] = 255
    network, verifier, row = (normalize(rng.normal(size=10)) for _ in range(3))
    example = DigitExample(image, np.exp(network), verifier, is_asked * row, False, 0)
    fitted = torch.tensor(weights._replace(floor=float(np.log(weights.floor))))
    scores = score_digits(stack_evidence([example]), fitted.double())
    used = combine_networks(*example[:4], weights)
    assert torch.softmax(scores[0], dim=0).numpy() == pytest.approx(used, abs=1e-5)


def test_a_network_that_knows_counts_for_more_than_one_that_guesses() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 6:22] = 255
    examples = []
    for label in rng.integers(10, size=400):
        guess, known = rng.normal(size=10), rng.normal(size=10)
        known[label] += 3
        examples.append(
            DigitExample(
                image,
                np.exp(normalize(guess)),
                normalize(rng.normal(size=10)),
                normalize(known),
                False,
                int(label),
            )
        )
    fitted = fit_digits(examples, WHOLE)
    assert fitted.row_reader > 1
    assert abs(fitted.verifier) < 0.3
    assert abs(fitted.network) < 0.3


def test_evidence_that_tells_the_right_text_gets_the_weight() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        evidence = rng.normal(size=(4, 4))
        right = np.arange(4) == rng.integers(4)
        evidence[right, 2] += 2
        rows.append(RowExample(evidence, right))
    fitted = fit_evidence(rows)
    assert fitted.shapes > 1
    assert max(abs(fitted.row_reader), abs(fitted.digits), abs(fitted.division)) < 0.4
