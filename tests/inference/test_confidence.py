"""What the networks together say of a digit."""

import numpy as np
import pytest

from support.number_pictures import draw_number
from tiny_mnist.inference.confidence import CUT, WHOLE, Weights, combine_networks
from tiny_mnist.inference.detect import Digit, find_digits
from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.predictor import combine_predictions


def log_probs(digit: int, probability: float) -> np.ndarray:
    """Log-probabilities of ten digits, of which one has this probability."""
    others = np.full(10, np.log((1 - probability) / 9), np.float32)
    others[digit] = np.log(probability)
    return others


def image(width: int) -> np.ndarray:
    """A block of ink of this width and the height of a digit."""
    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 14 - width // 2 : 14 + width - width // 2] = 255
    return picture


def combine(network: int, verifier: int, row: int, weights: Weights, width: int = 16) -> np.ndarray:
    probabilities = np.exp(log_probs(network, 0.99))
    return combine_networks(
        image(width), probabilities, log_probs(verifier, 0.99), log_probs(row, 0.99), weights
    )


def test_networks_that_agree_are_sure() -> None:
    for weights in (WHOLE, CUT):
        together = combine(5, 5, 5, weights)
        assert together.argmax() == 5
        assert together.sum() == pytest.approx(1)
        assert together[5] > 0.98


def test_where_ink_was_cut_the_row_reader_decides() -> None:
    assert combine(9, 9, 4, WHOLE).argmax() == 9
    assert combine(9, 9, 4, CUT).argmax() == 4


def test_the_digits_of_a_row_that_was_cut_are_combined_as_such() -> None:
    verified = np.append(log_probs(9, 0.99), np.float32(-9))
    whole = Digit(Box(0, 0, 20, 20), image(16), 0, verified, row_log_probs=log_probs(4, 0.99))
    cut = whole._replace(is_row_cut=True)
    probabilities = np.exp(log_probs(9, 0.99))
    assert [combine_predictions(one, probabilities).digit for one in (whole, cut)] == [9, 4]


@pytest.mark.parametrize(("gap", "is_cut"), [(0.25, False), (-0.05, True)])
def test_a_row_whose_digits_touch_is_cut(gap: float, is_cut: bool) -> None:
    picture = np.repeat(draw_number("3402", gap)[..., None], 3, axis=2)
    assert [digit.is_row_cut for digit in find_digits(picture)] == 4 * [is_cut]


def test_of_1_and_7_the_network_does_not_decide_but_the_width_helps() -> None:
    by_seven, by_one = (combine(network, 1, 1, WHOLE) for network in (7, 1))
    assert by_seven == pytest.approx(by_one)
    assert by_seven.argmax() == 1
    wide, narrow = (combine(7, 7, 1, WHOLE, width)[1] for width in (16, 5))
    assert narrow > wide + 0.2


def test_a_row_reader_that_was_not_asked_prefers_no_digit() -> None:
    unknown = np.full(10, 0.1, np.float32)
    weights = WHOLE._replace(network=0.0)
    together = combine_networks(
        image(16), unknown, np.log(unknown), np.zeros(10, np.float32), weights
    )
    assert together == pytest.approx(unknown)
