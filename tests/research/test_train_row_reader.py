"""The row reader's training: rendered strips, and what is learnt from them."""

import numpy as np
import pytest
import torch
from research.pictures import strips
from research.train_row_reader import RowReader, count_misread, ctc_loss, fit, make_batches
from torch import Tensor

from tiny_mnist.inference.segmentation.row_reader import BLANK, STRIP_HEIGHT


@pytest.fixture
def rendered(mnist_root: object, monkeypatch: pytest.MonkeyPatch) -> list[strips.LabelledStrip]:
    """A few strips without fonts."""
    monkeypatch.setattr(strips, "CHUNK", 40)
    return strips.render_strips(None, (0, 1))


def test_strips_are_of_rows_and_of_non_digits(rendered: list[strips.LabelledStrip]) -> None:
    assert len(rendered) > 20
    assert all(strip.shape[0] == STRIP_HEIGHT and strip.any() for strip, _ in rendered)
    lengths = {len(text) for _, text in rendered}
    assert 0 in lengths
    assert max(lengths) > 3


class EmptyReader(RowReader):
    """Reads every strip as an empty text."""

    def forward(self, strips: Tensor) -> Tensor:
        """Blanks in every column."""
        blank = torch.tensor([0.1] * BLANK + [0.9])
        return blank.log().expand(len(strips), strips.shape[2] // 2, -1)


def test_a_text_that_is_not_read_is_misread(rendered: list[strips.LabelledStrip]) -> None:
    assert count_misread(EmptyReader(4), rendered) == sum(bool(text) for _, text in rendered)


@pytest.mark.slow
def test_a_small_row_reader_learns(rendered: list[strips.LabelledStrip]) -> None:
    torch.manual_seed(0)
    model = RowReader(4)

    def loss() -> float:
        model.eval()
        with torch.inference_mode():
            parts = [
                float(ctc_loss(model(images), texts, columns))
                for images, texts, columns in make_batches(rendered, np.random.default_rng(0))
            ]
        return sum(parts) / len(parts)

    before = loss()
    fit(model, rendered, steps=30)
    assert loss() < before
