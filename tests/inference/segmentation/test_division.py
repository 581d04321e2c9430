"""How a row is divided into digits: cuts, the cheapest division, and its probability."""

import hashlib
import json
from typing import Any

import cv2
import numpy as np
import pytest

from support.number_pictures import draw_number, read
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.segmentation import reading
from tiny_mnist.inference.segmentation.components import find_components, find_rows
from tiny_mnist.inference.segmentation.cuts import MAX_CUTS, find_cuts
from tiny_mnist.inference.segmentation.division import (
    Step,
    cheapest_divisions,
    compare_with_other,
    lowest_cost,
)
from tiny_mnist.inference.segmentation.pieces import find_boundaries
from tiny_mnist.inference.segmentation.reading import is_splittable, propose_texts
from tiny_mnist.inference.segmentation.row_reader import BLANK

NO_DIGIT = np.array([-9.0] * 10 + [0.0], np.float32)


def test_a_long_bar_has_few_cuts() -> None:
    rng = np.random.default_rng(0)
    bar = np.zeros((12, 3000), bool)
    bar[3:9] = True
    bar[:3] = rng.random((3, 3000)) < 0.5
    assert len(find_cuts(bar)) <= MAX_CUTS


def test_a_slash_is_not_cut_into_halves_and_touching_neighbours_are_cut() -> None:
    slash = np.zeros((220, 110), np.uint8)
    cv2.line(slash, (95, 10), (15, 210), 1, 18)
    pair = np.zeros((220, 110), np.uint8)
    for column in (20, 90):
        cv2.line(pair, (column, 10), (column, 210), 1, 18)
    cv2.line(pair, (20, 110), (90, 110), 1, 10)
    assert find_cuts(slash > 0)
    assert all(edge.right is None for edge in find_boundaries([slash > 0], [True]))
    assert any(edge.right is not None for edge in find_boundaries([pair > 0], [True]))


def test_a_speck_beside_a_digit_is_no_digit() -> None:
    ink = draw_number("1", size=120)
    right = ink.shape[1] - 50
    ink[40:58, right : right + 4] = 255
    assert read(ink).text == "1"


def test_a_piece_that_is_surely_a_digit_costs_less_than_one_that_may_be_something_else() -> None:
    sure, doubtful = np.full(11, -9.0, np.float32), np.full(11, -9.0, np.float32)
    sure[3], doubtful[3], doubtful[10] = -0.5, -0.5, -0.95
    assert lowest_cost(sure) == lowest_cost(doubtful)
    assert compare_with_other(sure) < compare_with_other(doubtful) - 3


def test_lines_and_flat_strokes_are_not_cut() -> None:
    height = 80.0
    assert is_splittable(NO_DIGIT, Box(0, 0, 120, 80), height)
    assert not is_splittable(NO_DIGIT, Box(0, 0, 120, 20), height)
    assert not is_splittable(NO_DIGIT, Box(0, 0, 700, 6), height=6.0)


def test_a_thin_underline_is_left_out_without_many_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def counted(images: Any, score: Any = reading.score_images) -> Any:
        asked.append(len(images))
        return score(images)

    monkeypatch.setattr(reading, "score_images", counted)
    ink = draw_number("3274032")
    ink[126:132, 20:-20] = 255
    assert read(ink).text == "3274032"
    assert sum(asked) < 1000


ONE_OR_TWO = [Step(0, 1, 0.2, 1), Step(0, 2, 0.7, 0), Step(1, 2, 3.2, 2)]
"""A row that is one digit or two."""


def test_each_number_of_digits_has_its_cheapest_division() -> None:
    one, two = cheapest_divisions(ONE_OR_TWO, 3, np.full((3, 2), 0.3))
    assert (one.candidates, one.cost) == ([0], pytest.approx(1.0))
    assert (two.candidates, two.cost) == ([1, 2], pytest.approx(4.0))


def test_a_piece_may_be_left_out() -> None:
    steps = [Step(0, 1, 5.0, 0), Step(0, 1, 1.0, None), Step(1, 2, 0.1, 1)]
    divisions = cheapest_divisions(steps, 3, np.zeros((2, 2)))
    best = min(divisions, key=lambda division: division.cost)
    assert (best.candidates, best.cost) == ([1], pytest.approx(1.1))


@pytest.mark.parametrize("text", [(8,), (3, 1)])
def test_the_row_reader_decides_between_two_divisions(text: tuple[int, ...]) -> None:
    scores = np.full((3, 11), -9.0, np.float32)  # of each candidate as each digit
    scores[0, 8], scores[1, 3], scores[2, 1] = -0.3, -0.3, -0.3
    columns = np.full((5, 11), -9.0)
    columns[:, BLANK] = -0.1
    for column, digit in zip((1, 3), text, strict=False):
        columns[column, BLANK], columns[column, digit] = -9.0, -0.1
    proposals = propose_texts(ONE_OR_TWO, 3, scores, columns)
    assert {proposal.text for proposal in proposals} == {(8,), (3, 1)}
    assert max(proposals, key=lambda proposal: proposal.score).text == text


def test_a_box_around_a_digit_is_a_frame_and_joined_digits_are_none() -> None:
    ink = np.zeros((140, 300), np.uint8)
    cv2.rectangle(ink, (10, 10), (110, 130), 255, 3)
    cv2.line(ink, (60, 40), (60, 100), 255, 8)
    cv2.polylines(ink, [np.array([[150, 20], [150, 120], [280, 120], [280, 20]])], False, 255, 6)
    cv2.line(ink, (215, 40), (215, 90), 255, 8)
    _, parts = find_components(ink > 0, np.zeros(ink.shape, bool), touches_border=False)
    assert sorted(part.box.left for part in parts) == [56, 147, 211]


def test_small_digits_above_and_below_stand_in_one_row() -> None:
    ink = np.zeros((120, 260), np.uint8)
    for left, top, bottom in ((20, 10, 46), (60, 66, 105), (100, 10, 105), (150, 12, 48)):
        cv2.line(ink, (left, top), (left, bottom), 255, 7)
    _, parts = find_components(ink > 0, np.zeros(ink.shape, bool), touches_border=False)
    (row,) = find_rows(parts)
    assert [item[0].box.left for item in row.parts] == sorted(part.box.left for part in parts)


def test_a_small_number_on_a_large_sheet_is_looked_at_again_in_detail() -> None:
    number = draw_number("32074")
    ink = np.zeros((2400, 3200), np.uint8)
    top, left = 1500, 2100
    ink[top : top + number.shape[0], left : left + number.shape[1]] = number
    answer = read(ink)
    assert answer.text == "32074"
    assert all(digit.image.any() for digit in answer.digits)
    heights = [digit.box.height for digit in answer.digits]
    assert all(80 <= height <= 100 for height in heights)
    assert all(top <= digit.box.top < top + 60 for digit in answer.digits)
    assert answer.digits[0].box.left == pytest.approx(left + 44, abs=8)


def test_the_card_belongs_to_the_verifier() -> None:
    card = json.loads(pretrained.VERIFIER_CARD.read_text())
    assert card["sha256"] == hashlib.sha256(pretrained.VERIFIER.read_bytes()).hexdigest()
    assert {"seed", "fonts", "commit", "held_out_error"} <= set(card)


def test_the_card_belongs_to_the_row_reader() -> None:
    card = json.loads(pretrained.ROW_READER_CARD.read_text())
    assert card["sha256"] == hashlib.sha256(pretrained.ROW_READER.read_bytes()).hexdigest()
    assert {"strips", "fonts", "held_out_misread_percent"} <= set(card)
