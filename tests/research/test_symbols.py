"""Symbols beside rendered digits: of the font's size, on its line, and no part of a digit."""

from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from research.pictures import symbols
from research.pictures.digits import font_files
from research.pictures.numbers import Row, draw_layers, make_draw
from research.pictures.strokes import strokes
from research.pictures.symbols import font_symbol

from tiny_mnist.errors import UserError

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@pytest.mark.parametrize(
    ("character", "bottom", "top"),
    [("/", -0.2, 1.05), ("-", 0.25, 0.5), (".", -0.05, 0.2), ("$", -0.25, 1.1)],
)
def test_a_symbol_stands_where_the_font_puts_it(
    character: str, bottom: float, top: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbols, "FONT_SYMBOLS", character)
    mask, level = font_symbol([FONT], 100, 0.08, np.random.default_rng(0))
    assert bottom <= level <= level + mask.shape[0] / 100 <= top


def test_a_character_that_the_font_lacks_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "FONT_SYMBOLS", "\ue123-")
    for seed in range(8):
        mask, _ = font_symbol([FONT], 100, 0.08, np.random.default_rng(seed))
        assert mask.shape[0] < 20


def test_symbols_are_ink_of_a_row_and_of_none_of_its_digits() -> None:
    found, before, after = 0, 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        draws = [make_draw(strokes, digit, rng) for digit in (3, 8, 5)]
        style = Row(separators=True, affixes=True)
        row = draw_layers(draws, style, 60, rng, partial(font_symbol, [FONT]))
        digits = np.max(row.digits, axis=0)
        assert (digits[row.ink == 0] == 0).all()
        found += int(np.count_nonzero((row.ink > 127) & (digits == 0))) > 20
        inked, drawn = (np.flatnonzero(ink.max(axis=0) > 127) for ink in (row.ink, digits))
        before += inked[0] < drawn[0]
        after += inked[-1] > drawn[-1]
    assert found >= 5
    assert before
    assert after


def test_a_folder_without_fonts_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=f"no font .* below {tmp_path}"):
        font_files(tmp_path)
