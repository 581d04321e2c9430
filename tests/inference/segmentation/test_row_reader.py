"""Reading a row as a whole: strips, texts and their probabilities."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from support.number_pictures import draw_number
from tiny_mnist.inference.segmentation.components import find_components, find_rows
from tiny_mnist.inference.segmentation.reading import vary_text
from tiny_mnist.inference.segmentation.row_reader import (
    BLANK,
    STRIP_HEIGHT,
    decode_text,
    draw_strip,
    read_strip,
    text_log_probs,
)


def random_columns(count: int) -> np.ndarray:
    """Log-probabilities of eleven classes in each column."""
    logits = torch.randn(count, 11, generator=torch.Generator().manual_seed(count))
    return F.log_softmax(2 * logits, dim=1).double().numpy()


@pytest.mark.parametrize("text", [[], [3], [3, 3], [1, 2, 1], [5, 5, 5]])
def test_the_probability_of_a_text_is_that_of_pytorchs_loss(text: list[int]) -> None:
    columns = random_columns(9)
    loss = F.ctc_loss(
        torch.from_numpy(columns)[:, None], torch.tensor([text], dtype=torch.long),
        torch.tensor([9]), torch.tensor([len(text)]), BLANK, reduction="sum",
    )  # fmt: skip
    (found,) = text_log_probs(columns, np.array([text], int))
    assert found == pytest.approx(-float(loss))


def test_the_probabilities_of_all_texts_sum_to_one() -> None:
    columns = random_columns(2)
    total = sum(
        float(np.exp(text_log_probs(columns, np.array([*product(range(10), repeat=n)], int))).sum())
        for n in range(3)
    )
    assert total == pytest.approx(1.0)


def test_repetitions_and_blanks_are_left_out_of_a_text() -> None:
    columns = np.full((7, 11), -9.0)
    for column, digit in enumerate([BLANK, 4, 4, BLANK, 4, 7, BLANK]):
        columns[column, digit] = -0.1
    assert decode_text(columns) == [4, 4, 7]


def test_a_row_is_read_without_being_divided() -> None:
    ink = draw_number("32074") > 127
    labels, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    (row,) = find_rows(parts)
    strip = draw_strip(labels, row)
    assert strip.shape[0] == STRIP_HEIGHT
    assert decode_text(read_strip(strip)) == [3, 2, 0, 7, 4]


@pytest.mark.filterwarnings("error")
def test_a_text_longer_than_its_strip_says_nothing_of_its_digits() -> None:
    """Its log-probability is −∞, and a difference of two of these is no number."""
    columns = np.full((4, 11), -np.log(11))
    assert (vary_text(columns, (1, 2, 3, 4, 5)) == 0).all()
    assert np.isfinite(vary_text(columns, (1, 2, 3))).all()
