"""Numbers in small pictures that are drawn here: what is one digit, and what is none."""

from itertools import pairwise
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from research.pictures.numbers import NUMBER_SCENES, number_picture
from research.pictures.strokes import strokes

from support.number_pictures import draw_number, predict, read
from tiny_mnist.inference import further_digits
from tiny_mnist.inference.further_digits import (
    finds_clear_digit,
    include_border_digits,
    include_digits,
)
from tiny_mnist.inference.hypotheses import Hypothesis
from tiny_mnist.inference.ink_reading import find_hypothesis_ink, read_ink
from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.segmentation import components
from tiny_mnist.inference.segmentation.components import find_components
from tiny_mnist.inference.segmentation.cuts import find_cuts
from tiny_mnist.inference.segmentation.slant import measure_slant

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@pytest.mark.parametrize("slant", [-0.15, 0.0, 0.25, 0.45])
def test_slanted_digits_are_read_one_by_one(slant: float) -> None:
    assert read(draw_number("20374", slant=slant)).text == "20374"


def test_the_slant_of_a_stroke_is_measured() -> None:
    ink = draw_number("1", slant=0.4) > 127
    labels, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    assert measure_slant(labels, parts[0]) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("gap", [0.05, 0.6])
def test_close_and_distant_neighbours_are_read(gap: float) -> None:
    assert read(draw_number("3207", gap=gap)).text == "3207"


def test_a_small_zero_beside_tall_digits_is_a_digit() -> None:
    assert read(draw_number("2073", heights=(1, 0.45, 1, 1))).text == "2073"


@pytest.mark.parametrize("digit", "12370")
def test_a_digit_that_a_pen_left_in_pieces_is_one_digit(digit: str) -> None:
    ink = draw_number(digit)
    rows = np.flatnonzero(ink.any(axis=1))
    for third in (1, 2):
        ink[rows[0] + third * len(rows) // 3 :][:2] = 0
    assert read(ink).text == digit


def test_digits_that_stand_close_above_each_other_stay_apart() -> None:
    rows = [draw_number("3", size=60), draw_number("7", size=60)]
    drawn = [ink[ink.any(axis=1)] for ink in rows]
    ink = np.concatenate([drawn[0], np.zeros_like(drawn[0][:3]), drawn[1]])
    assert read(np.pad(ink, 20)).text == "3\n7"


@pytest.mark.parametrize("text", ["00", "23", "702"])
def test_touching_digits_are_cut_apart(text: str) -> None:
    ink = draw_number(text, gap=0.09)
    joined = ink.copy()
    row = 100
    columns = np.flatnonzero(ink[row] > 127)
    for left, right in pairwise(columns.tolist()):
        if 1 < right - left < 20:
            joined[row - 3 : row + 3, left:right] = 255
    answer = read(joined)
    assert answer.text == text


@pytest.mark.parametrize(
    ("text", "gap", "slant"),
    [
        ("3402", -0.01, 0.0),
        ("3300", -0.01, 0.0),
        ("3044", -0.01, 0.0),
        ("3402", -0.05, 0.0),
        ("72320", -0.05, 0.0),
        ("024", -0.08, 0.0),
        ("30037", -0.08, 0.2),
    ],
)
def test_rows_in_which_every_digit_touches_the_next_are_read(
    text: str, gap: float, slant: float
) -> None:
    assert read(draw_number(text, gap, slant)).text == text


def test_cuts_are_proposed_where_two_rings_touch() -> None:
    mask = np.zeros((80, 126), np.uint8)
    for centre in (32, 93):
        cv2.ellipse(mask, (centre, 40), (25, 36), 0, 0, 360, 1, 6)
    mask[38:42, 55:70] = 1
    cuts = find_cuts(mask > 0)
    middle = [cut for cut in cuts if abs(cut.columns[40] - 62.5) < 5]
    assert middle
    assert min(cut.crossing for cut in middle) < 4.5


def test_a_ruled_line_below_the_digits_is_no_part_of_them() -> None:
    ink = draw_number("3274")
    ink[112:114] = np.maximum(ink[112:114], 150)
    assert read(ink).text == "3274"


def test_the_boxes_of_a_form_are_no_digits() -> None:
    ink = draw_number("3274", gap=0.7)
    for left in range(4):
        x = 18 + round(left * 1.3 * 80)
        cv2.rectangle(ink, (x, 12), (x + 96, 132), 200, 2)
    assert read(ink).text == "3274"


def test_several_lines_are_read_from_top_to_bottom() -> None:
    lines = [draw_number(text) for text in ("327", "04", "731")]
    wide = max(line.shape[1] for line in lines)
    ink = np.vstack([np.pad(one, ((0, 0), (0, wide - one.shape[1]))) for one in lines])
    answer = read(ink)
    assert answer.text == "327\n04\n731"
    assert [digit.row for digit in answer.digits] == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("written", "digits"),
    [("12/03/24", "120324"), ("030/4567", "0304567"), ("$31.58", "3158"), ("47%", "47")],
)
def test_symbols_of_a_font_are_left_out(written: str, digits: str) -> None:
    font = ImageFont.truetype(str(FONT), 80)
    ink = Image.new("L", (int(font.getlength(written)) + 120, 160))
    ImageDraw.Draw(ink).text((60, 30), written, fill=255, font=font)
    assert read(np.asarray(ink)).text == digits


def test_a_dash_and_a_point_between_digits_are_no_digits() -> None:
    ink = draw_number("3274", gap=0.7)
    cv2.line(ink, (116, 76), (136, 76), 255, 8)
    cv2.circle(ink, (230, 110), 5, 255, -1)
    assert read(ink).text == "3274"


def scribble() -> np.ndarray:
    """Strokes that are no digit."""
    ink = np.zeros((200, 240), np.uint8)
    points = np.random.default_rng(3).integers(30, 190, (9, 2))
    cv2.polylines(ink, [points.astype(np.int32)], False, 255, 7, cv2.LINE_AA)
    return ink


def test_a_scribble_is_unsure_and_a_clear_digit_is_not() -> None:
    assert read(scribble()).status in ("unsure", "no digit")
    assert read(draw_number("3")).status == "digit"
    assert read(draw_number("32")).status == "number"


def test_confidence_of_a_text_includes_the_number_of_digits() -> None:
    prediction = read(draw_number("32"))
    digits = [digit._replace(count_probability=0.5) for digit in prediction.digits]
    certain = [digit._replace(count_probability=1.0) for digit in prediction.digits]
    product = np.prod([digit.confidence for digit in digits])
    assert prediction._replace(digits=certain).confidence == pytest.approx(product)
    assert prediction._replace(digits=digits).confidence == pytest.approx(0.5 * product)  # one row


def test_a_doubtful_number_of_digits_is_unsure() -> None:
    prediction = read(draw_number("32"))
    digits = [digit._replace(count_probability=0.03) for digit in prediction.digits]
    assert prediction.status == "number"
    assert prediction._replace(digits=digits).status == "unsure"


def test_a_page_of_many_rows_is_read() -> None:
    texts = ["3274", "4723"] * 7
    rows = [draw_number(text, size=30) for text in texts]
    assert read(np.concatenate(rows)).text.split("\n") == texts


def test_a_page_with_more_ink_than_is_read_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    page = draw_number("3274")
    page[150:152, ::8] = 255  # specks do not count
    monkeypatch.setattr(components, "MAX_COMPONENTS", 4)
    assert read(page).status == "number"
    monkeypatch.setattr(components, "MAX_COMPONENTS", 3)
    assert read(page).status == "unsure"


@pytest.mark.parametrize("edge", [0.3, 0.5, 0.7])
def test_digits_in_a_hard_shadow_are_read_with_the_others(edge: float) -> None:
    ink = np.pad(draw_number("20374"), 40)
    light = np.where(np.arange(ink.shape[1]) < edge * ink.shape[1], 0.45, 1.0)
    paper = (225 - 180 * (ink / 255.0)) * cv2.GaussianBlur(light[None], (0, 0), 3)
    paper += np.random.default_rng(0).normal(0, 3, paper.shape)
    assert read(255 - paper.clip(0, 255).astype(np.uint8)).text == "20374"


@pytest.mark.parametrize("gap", [0, 25, 60])
def test_a_circle_around_a_digit_is_no_zero(gap: int) -> None:
    ink = np.pad(draw_number("1"), 30)
    height, width = ink.shape
    middle, axes = (width // 2, height // 2 + 16), (width // 2 - 10, height // 2 - 20)
    cv2.ellipse(ink, middle, axes, 0, 0, 360 - gap, 255, 8, cv2.LINE_AA)
    assert read(ink).text == "1"


@pytest.mark.parametrize(("thickness", "count"), [(1, 2), (3, 2), (8, 3)])
def test_lines_much_thinner_than_the_strokes_are_left_out(thickness: int, count: int) -> None:
    ink = draw_number("27", gap=0.6) > 127
    ink[20:140, 115 : 115 + thickness] = True  # between the digits
    _, parts = find_components(ink, np.zeros_like(ink), touches_border=False)
    assert len(parts) == count


@pytest.mark.parametrize("thing", ["pen", "hole"])
def test_a_solid_thing_beside_the_digits_is_left_out(thing: str) -> None:
    ink = np.pad(draw_number("2374"), ((40, 80), (120, 40)))
    if thing == "pen":
        cv2.line(ink, (130, 215), (320, 228), 255, 19, cv2.LINE_AA)
    else:
        cv2.circle(ink, (70, 90), 24, 255, -1, cv2.LINE_AA)
    prediction = read(ink)
    assert (prediction.text, prediction.status) == ("2374", "number")


def test_a_thick_one_beside_thin_digits_is_read() -> None:
    ink = np.pad(draw_number("231"), ((0, 0), (0, 40)))
    right = int(np.flatnonzero(ink.max(axis=0))[-1])
    cv2.line(ink, (right - 4, 35), (right - 4, 110), 255, 20, cv2.LINE_AA)
    assert read(ink).text == "231"


def test_a_digit_that_a_thin_line_joins_with_the_border_is_kept() -> None:
    ink = draw_number("274", gap=0.6) > 127
    ink[:, 142:144] = True  # through the 7
    rim = np.ones_like(ink)
    rim[1:-1, 1:-1] = False
    labels, parts = find_components(ink, rim, touches_border=False)
    assert len(parts) == 3
    assert ink[labels > 0].all()


def test_a_line_of_a_table_that_is_left_is_no_one() -> None:
    row = draw_number("2374", gap=0.6, size=60)
    page = np.vstack([row] * 4)
    cv2.line(page, (163, 20), (167, page.shape[0] - 20), 255, 5, cv2.LINE_AA)
    assert read(page).text == "\n".join(["2374"] * 4)


@pytest.mark.parametrize(("faint", "text"), [(0.5, "237423"), (0.15, "2374")])
def test_digits_of_a_paler_pen_are_read_and_ink_of_the_other_side_is_not(
    faint: float, text: str
) -> None:
    dark, pale = draw_number("2374"), draw_number("23") * faint
    rng = np.random.default_rng(0)
    ink = np.hstack([dark[:, :-60], pale]) * 0.9 + rng.normal(0, 2, (160, 1))
    assert read(ink.clip(0, 255).astype(np.uint8)).text == text


@pytest.mark.parametrize("is_upright", [False, True])
def test_a_line_from_border_to_border_that_ends_along_one_is_no_component(is_upright: bool) -> None:
    mask = np.zeros((160, 400), np.uint8)
    cv2.line(mask, (0, 50), (399, 70), 1, 3)
    mask[70:110, 398:] = 1
    ink = (mask.T if is_upright else mask) > 0
    rim = np.ones_like(ink)
    rim[1:-1, 1:-1] = False
    _, parts = find_components(ink, rim, touches_border=True)
    assert parts == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_digits_that_touch_the_border_of_the_picture_are_read(seed: int) -> None:
    scene = NUMBER_SCENES["row, cropped"]
    text, picture = number_picture(scene, {"strokes": strokes}, np.random.default_rng(seed))
    assert predict(picture).text == text


@pytest.mark.parametrize(("digit", "count", "is_doubtful"), [(7, 2, False), (1, 1, True)])
def test_a_one_at_the_border_alone_makes_the_number_of_digits_doubtful(
    monkeypatch: pytest.MonkeyPatch, digit: int, count: int, is_doubtful: bool
) -> None:
    ink = draw_number("47")
    last = np.flatnonzero(ink.max(axis=0) > 127)[-1]
    picture = np.repeat(255 - ink[:, : last - 1, None], 3, axis=2)
    found = read_ink(find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, True)), 1.0, 1.0)
    assert found is not None
    four, seven = found.digits
    scores = np.full(11, -9.0, np.float32)
    scores[digit] = 0.0
    whole = found._replace(digits=[four, seven._replace(verifier_log_probs=scores)])
    monkeypatch.setattr(further_digits, "read_ink", lambda *_: whole)
    part = found._replace(digits=[four], hypothesis=Hypothesis(False, False, 0.16, False))
    read_again = include_border_digits(picture, part, [])
    assert len(read_again.digits) == count
    assert read_again.is_doubtful == is_doubtful
    assert include_border_digits(picture, part._replace(is_doubtful=True), []).is_doubtful


@pytest.mark.parametrize(
    ("chosen", "cost", "count", "is_doubtful"),
    [
        ([0, 1, 2], 0.0, 3, False),  # all digits, and one more
        ([1, 2], 0.0, 2, True),  # the same number of others
        ([1, 2, 3], 0.0, 3, True),  # more others at a lower cost
        ([1, 2, 3], 9.0, 2, True),
        ([1], 0.0, 2, False),
    ],
)
def test_clear_digits_of_another_reading_are_added_or_make_their_number_doubtful(
    chosen: list[int], cost: float, count: int, is_doubtful: bool
) -> None:
    picture = np.repeat(255 - draw_number("4723")[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
    found = read_ink(ink, 1.0, 1.0)
    assert found is not None
    scores = np.full(11, -9.0, np.float32)
    scores[4] = 0.0
    digits = [digit._replace(verifier_log_probs=scores) for digit in found.digits]
    reading = found._replace(digits=digits[:2], cost=0.1)
    other = found._replace(digits=[digits[index] for index in chosen], cost=cost)
    again = include_digits(other, reading)
    assert len(again.digits) == count
    assert again.is_doubtful == is_doubtful


def test_a_loop_within_a_digit_is_no_further_digit() -> None:
    picture = np.repeat(255 - draw_number("07")[..., None], 3, axis=2)
    found = read_ink(find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False)), 1.0, 1.0)
    assert found is not None
    zero, _ = found.digits
    left, top, right, bottom = zero.box
    loop = zero._replace(box=Box(left + 10, top + 10, right - 10, bottom - 10))
    assert not finds_clear_digit(found._replace(digits=[loop]), found)
    assert finds_clear_digit(found, found._replace(digits=found.digits[1:]))


@pytest.mark.parametrize(
    ("digit", "on_sheet", "is_doubtful"), [(1, True, False), (1, False, True), (7, True, True)]
)
def test_ones_beside_a_sheet_are_its_edges(digit: int, on_sheet: bool, is_doubtful: bool) -> None:
    picture = np.repeat(255 - draw_number("47")[..., None], 3, axis=2)
    whole = read_ink(find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False)), 1.0, 1.0)
    assert whole is not None
    scores = np.full(11, -9.0, np.float32)
    scores[digit], scores[10] = -0.5, -1.0  # not clearly a digit
    four, last = whole.digits
    further = whole._replace(digits=[four, last._replace(verifier_log_probs=scores)], cost=0.1)
    reading = whole._replace(digits=[four], hypothesis=Hypothesis(False, on_sheet, 0.16, False))
    again = include_digits(further, reading)
    assert len(again.digits) == 1
    assert again.is_doubtful == is_doubtful
