"""The fit of what each network's word counts."""

import numpy as np
from research.fit_confidence import DigitExample, RowExample, fit_digits, fit_evidence

from tiny_mnist.inference.confidence import WHOLE


def normalize(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores - np.logaddexp.reduce(scores), np.float32)


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
