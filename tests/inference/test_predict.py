"""tiny-mnist predict: every kind of file, what it says, and what it does not import."""

import errno
import io
import json
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.ImageFilter import GaussianBlur

from support.number_pictures import draw_number
from support.pictures import draw_ink, run_predict
from tiny_mnist.errors import UserError
from tiny_mnist.inference import contact_sheet, detect, ink_reading
from tiny_mnist.inference.contact_sheet import format_caption
from tiny_mnist.inference.detect import find_digits
from tiny_mnist.inference.hypotheses import Hypothesis
from tiny_mnist.inference.image_io import LoadedImage, decode, find_pictures, to_rgb
from tiny_mnist.inference.ink_reading import Reading, find_hypothesis_ink, read_ink
from tiny_mnist.inference.mnist_format import CENTRE, Box
from tiny_mnist.inference.predictor import (
    DigitPrediction,
    ImagePrediction,
    predict_images,
    pretrained_network,
)
from tiny_mnist.inference.segmentation.reading import FoundDigit


def read_one(picture: Image.Image) -> object:
    """The digit read, or the status."""
    prediction = predict_picture(picture)
    return prediction.digits[0].digit if len(prediction.digits) == 1 else prediction.status


def predict_picture(picture: Image.Image) -> ImagePrediction:
    """The whole prediction."""
    sources = [("test", lambda: LoadedImage(to_rgb(picture)))]
    (prediction,) = predict_images(sources, pretrained_network())
    return prediction


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    Image.fromarray(255 - draw_ink()).save(path)
    return path


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_reads_every_mode(mode: str, inverted: bool) -> None:
    grey = 255 - draw_ink() if inverted else draw_ink()
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 16)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        picture = Image.fromarray(grey).convert(mode)
    assert read_one(picture) == 7


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_reads_every_format(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(255 - draw_ink()).convert("RGB").save(file, kind)
    (answer,) = predict_images([("x", lambda: decode(file.getvalue(), "x"))], pretrained_network())
    assert [digit.digit for digit in answer.digits] == [7]


@pytest.mark.parametrize("ink", [0, 255])
def test_reads_ink_with_nothing_behind_it(ink: int) -> None:
    picture = np.full((200, 200, 4), ink, np.uint8)
    picture[..., 3] = draw_ink()
    assert read_one(Image.fromarray(picture)) == 7


@pytest.mark.parametrize("side", [8, 12, 28, 100, 1000, 3000])
def test_reads_every_size(side: int) -> None:
    large = Image.fromarray(255 - draw_ink(1600, 140))
    assert read_one(large.resize((side, side), Image.Resampling.BOX)) == 7


def test_turns_the_picture_upright() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to see it upright
    Image.fromarray(np.rot90(255 - draw_ink())).save(file, "JPEG", exif=exif)
    (answer,) = predict_images([("x", lambda: decode(file.getvalue(), "x"))], pretrained_network())
    assert [digit.digit for digit in answer.digits] == [7]


@pytest.mark.parametrize(("width", "name"), [(2, "pencil"), (40, "marker")])
def test_brings_every_pen_to_the_form_of_mnist(width: int, name: str) -> None:
    picture = np.repeat((255 - draw_ink(400, width))[..., None], 3, axis=2)
    (digit,) = find_digits(picture)
    rows, columns = np.flatnonzero(digit.image.max(1)), np.flatnonzero(digit.image.max(0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22, name
    mass = digit.image / digit.image.sum()
    assert abs((mass.sum(1) @ np.arange(28)) - CENTRE) < 0.3
    assert abs((mass.sum(0) @ np.arange(28)) - CENTRE) < 0.3
    assert digit.image.max() >= 250
    assert 0.05 < (digit.image > 127).mean() < 0.3


def test_reads_through_shadow_noise_and_squares() -> None:
    rng = np.random.default_rng(0)
    cover = draw_ink(600, 24).astype(np.float64)[..., None] / 255
    paper = np.ones((600, 600, 3))
    paper[::40] = paper[:, ::40] = (0.6, 0.75, 0.9)
    light = (
        np.linspace(0.9, 0.5, 600)[None, :, None]
        * np.where(np.arange(600) > 250, 1, 0.6)[:, None, None]
    )
    field = (paper * (1 - cover) + 0.15 * cover) * light + rng.normal(0, 0.015, paper.shape)
    picture = Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8))
    assert read_one(picture) == 7


@pytest.mark.parametrize("side", [40, 60])
def test_reads_small_photographs_in_uneven_light(side: int) -> None:
    cover = draw_ink(200, 18).astype(np.float64) / 255
    light = np.linspace(1, 0.45, 200)[:, None]
    field = (1 - 0.8 * cover) * light * 220
    picture = Image.fromarray(field.astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    assert read_one(picture) == 7


def squared(step: int = 40) -> np.ndarray:
    """Squared paper, 600×600, noisy as a photograph is."""
    paper = np.full((600, 600, 3), 225.0)
    paper[::step] = paper[1::step] = paper[:, ::step] = paper[:, 1::step] = (120, 150, 190)
    noise = np.random.default_rng(0).normal(0, 3, paper.shape)
    return np.asarray((paper + noise).clip(0, 255), np.uint8)


def written(paper: np.ndarray, left: int = 200, top: int = 200) -> np.ndarray:
    """A 7 of some 100 pixels, in dark ink."""
    result = paper.copy()
    result[top : top + 200, left : left + 200][draw_ink(200, 14) > 127] = 40
    return result


def test_finds_the_digit_beside_the_lines_and_the_table() -> None:
    assert read_one(Image.fromarray(written(squared()))) == 7
    on_table = squared(step=10_000)
    for place in np.ndindex(600, 600):
        if place[1] < 90 + place[0] // 12 or place[0] > 500:
            on_table[place] //= 4
    assert read_one(Image.fromarray(written(on_table))) == 7


def test_a_frame_and_a_cut_neighbour_are_no_digits() -> None:
    paper = np.full((200, 260, 3), 240, np.uint8)
    digit = written(paper, 20, 0)
    framed = cv2.rectangle(digit.copy(), (12, 12), (240, 188), (40, 40, 40), 3)
    assert read_one(Image.fromarray(framed)) == 7
    neighbour = digit.copy()
    neighbour[40:160, 250:] = 40
    assert read_one(Image.fromarray(neighbour)) == 7


@pytest.mark.parametrize("inverted", [False, True])
def test_reads_a_one_that_fills_the_picture(inverted: bool) -> None:
    ink = np.zeros((260, 62), np.uint8)
    bends = np.array([[26, -10], [34, 60], [28, 130], [35, 200], [27, 270]])
    cv2.polylines(ink, [bends], False, 255, 40, cv2.LINE_AA)
    light = np.linspace(225, 200, 260)[:, None]
    grey = (light - 0.7 * ink).astype(np.uint8)
    assert read_one(Image.fromarray(255 - grey if inverted else grey)) == 1


@pytest.mark.parametrize("width", [180, 240])
@pytest.mark.parametrize("inverted", [False, True])
def test_reads_a_zero_that_fills_the_picture(width: int, inverted: bool) -> None:
    ink = np.zeros((240, width), np.uint8)
    middle = (width // 2, 120)
    cv2.ellipse(ink, middle, (width // 2 - 25, 95), 0, 0, 360, 255, 60, cv2.LINE_AA)
    light = np.linspace(225, 200, 240)[:, None]
    grey = (light - 0.7 * ink).astype(np.uint8)
    assert read_one(Image.fromarray(255 - grey if inverted else grey)) == 0


@pytest.mark.parametrize(("width", "drop", "digit"), [(40, 10, 1), (40, 25, 1), (80, 25, 7)])
def test_a_narrow_shape_with_a_hook_is_a_one(width: int, drop: int, digit: int) -> None:
    canvas = np.full((240, 240), 255, np.uint8)
    points = np.array([(125 - width, 40 + drop), (125, 40), (120, 190)], np.int32)
    cv2.polylines(canvas, [points], isClosed=False, color=0, thickness=12, lineType=cv2.LINE_AA)
    assert read_one(Image.fromarray(canvas)) == digit


def test_reads_above_ruled_lines_of_a_tilted_page() -> None:
    paper = np.full((600, 600, 3), 225.0)
    for top in range(-100, 600, 90):
        cv2.line(paper, (0, top), (600, top + 130), (120, 150, 190), 2, cv2.LINE_AA)
    noise = np.random.default_rng(0).normal(0, 3, paper.shape)
    assert read_one(Image.fromarray(written((paper + noise).clip(0, 255).astype(np.uint8)))) == 7


def test_reads_chalk_whose_upper_half_is_faint() -> None:
    light = np.linspace(0.25, 1, 300) ** 2
    ink = np.zeros((300, 240), np.uint8)
    for top, radius in ((85, 38), (190, 48)):
        cv2.ellipse(ink, (120, top), (radius - 8, radius + 12), 0, 0, 360, 255, 18, cv2.LINE_AA)
    noise = np.random.default_rng(0).normal(0, 1.5, ink.shape)
    picture = (25 + 0.7 * ink * light[:, None] + noise).clip(0, 255).astype(np.uint8)
    assert read_one(Image.fromarray(picture)) == 8


def test_a_digit_seen_whole_beats_its_pieces_in_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.repeat(255 - draw_ink()[..., None], 3, axis=2)
    scores = np.full(11, -9.0, np.float32)
    whole, upper, lower = (
        FoundDigit(
            Box(50, 40, 145, 165),
            np.ones((125, 95), bool),
            row,
            scores,
            1.0,
            0.0,
            np.zeros(10, np.float32),
        )
        for row in (0, 0, 1)
    )
    answers = iter([([upper, lower], 0.01), ([whole], 0.02)])
    monkeypatch.setattr(ink_reading, "find_row_digits", lambda *_: next(answers))
    monkeypatch.setattr(detect, "are_alike", lambda *_: False)
    best = detect.find_best_reading(picture, small=False)
    assert best is not None
    assert best.digits == [whole]


@pytest.mark.parametrize(
    ("costs", "chosen"),
    [
        ([0.4, 0.1, 0.1, 0.1, 0.1], 0),  # the first is good enough
        ([1.5, 0.9, 1.1, 1.2, 0.3], 1),  # the fifth is late and not good enough
        ([1.5, 0.9, 1.1, 1.2, 0.3, 0.1], 5),
    ],
)
def test_a_late_hypothesis_counts_only_if_its_digit_costs_little(
    monkeypatch: pytest.MonkeyPatch, costs: list[float], chosen: int
) -> None:
    picture = np.repeat(255 - draw_ink()[..., None], 3, axis=2)
    found = read_number(picture)
    replace_readings(monkeypatch, [found._replace(cost=cost, value=2 - cost) for cost in costs])
    best = detect.find_best_reading(picture, small=False)
    assert best is not None
    assert best.cost == costs[chosen]


def read_number(picture: np.ndarray) -> Reading:
    """The digits of dark ink in even light."""
    found = read_ink(find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False)), 2.0, 2.0)
    assert found is not None
    return found


def replace_readings(monkeypatch: pytest.MonkeyPatch, readings: list[Reading]) -> None:
    """Let `find_best_reading` read these, and then nothing, and look for no further digits."""
    answers = chain(readings, repeat(None))
    monkeypatch.setattr(detect, "read_ink", lambda *_, **__: next(answers))
    monkeypatch.setattr(detect, "digit_scores", lambda _: (2.0, 2.0))
    for name in ("are_alike", "is_light_uneven"):
        monkeypatch.setattr(detect, name, lambda *_: False)
    monkeypatch.setattr(detect, "include_border_digits", lambda _, reading, __: reading)
    for name in ("include_faint_ink", "include_paler_digits"):
        monkeypatch.setattr(detect, name, lambda reading: reading)


@pytest.mark.parametrize(("count", "is_doubtful"), [(1, True), (2, False)])
def test_a_clear_digit_of_another_reading_makes_the_number_of_digits_doubtful(
    monkeypatch: pytest.MonkeyPatch, count: int, is_doubtful: bool
) -> None:
    picture = np.repeat(255 - draw_number("43")[..., None], 3, axis=2)
    found = read_number(picture)
    best = found._replace(digits=found.digits[:count], cost=0.6, value=1.4)
    replace_readings(monkeypatch, [best, found._replace(cost=0.6, value=1.0)])
    again = detect.find_best_reading(picture, small=False)
    assert again is not None
    assert len(again.digits) == count
    assert again.is_doubtful == is_doubtful


@pytest.mark.parametrize("small", [False, True])
def test_every_hypothesis_is_read_as_in_a_small_picture_only_there(
    monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Also one of even light, which a larger picture that its digit fills has, too."""
    picture = np.repeat(255 - draw_ink()[..., None], 3, axis=2)
    picture[:, 120:132] = 0  # from border to border
    asked = []

    def read(ink: ink_reading.Ink, *_: float, is_small: bool) -> None:
        asked.append((ink.hypothesis.stroke_reach, is_small))

    monkeypatch.setattr(detect, "read_ink", read)
    monkeypatch.setattr(detect, "digit_scores", lambda _: (2.0, 2.0))
    monkeypatch.setattr(detect, "MAX_LATE_READINGS", 30)
    assert detect.find_best_reading(picture, small) is None
    assert None in dict(asked)
    assert {is_small for _, is_small in asked} == {small}


@pytest.mark.parametrize(
    ("text", "score", "is_read"),
    [("3", 1.0, True), ("3", 0.0, True), ("3", -1.0, False), ("1", 1.0, True), ("1", 0.0, False)],
)
def test_pale_ink_is_read_only_where_the_verifier_is_sure(
    text: str, score: float, is_read: bool
) -> None:
    picture = np.repeat(255 - draw_number(text)[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
    assert (read_ink(ink, score, score) is not None) == is_read


@pytest.mark.parametrize(
    ("rows", "score", "is_small", "is_doubtful"),
    [
        (["1"], 2.0, False, False),
        (["1"], 0.7, False, True),
        (["1"], 0.7, True, False),
        (["3"], 0.7, False, False),
        (["11"], 2.0, False, False),
        (["1", "1"], 2.0, False, True),
        (["3", "3"], 2.0, False, False),
    ],
)
def test_ones_that_may_be_lines_of_the_paper_are_doubtful(
    rows: list[str], score: float, is_small: bool, is_doubtful: bool
) -> None:
    drawn = np.vstack([draw_number(row) for row in rows])
    picture = np.repeat(255 - drawn[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
    reading = read_ink(ink, score, score, is_small)
    assert reading is not None
    assert len(reading.digits) == len("".join(rows))
    assert reading.is_doubtful == is_doubtful
    digits = detect.draw_digits(picture, reading, 1.0)
    together = np.prod(list({digit.row: digit.count_probability for digit in digits}.values()))
    assert not is_doubtful or together == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("is_small", [False, True])
def test_a_small_digit_that_looks_like_something_else_is_doubtful_and_not_left_out(
    monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    picture = np.repeat(255 - draw_number("3")[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, None, False))
    monkeypatch.setattr(ink_reading, "find_row_digits", lambda *_: ([], 0.0))
    reading = read_ink(ink, 2.0, 2.0, is_small)
    assert (reading is not None) == is_small
    assert reading is None or (reading.is_doubtful and len(reading.digits) == 1)


def test_a_digit_beside_much_ink_that_is_none_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.repeat(255 - draw_number("3")[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
    digits, cost = ink_reading.find_row_digits(ink.mask, ink.segmentation.rim, False)
    for more, is_doubtful in ((0.0, False), (8.0, True)):
        found = digits, cost + more
        monkeypatch.setattr(ink_reading, "find_row_digits", lambda *_, found=found: found)
        reading = read_ink(ink, 1.0, 1.0)
        assert reading is not None
        assert reading.is_doubtful == is_doubtful
        (digit,) = detect.draw_digits(picture, reading, 1.0)
        assert (digit.count_probability <= 0.5) == is_doubtful


def test_a_doubtful_number_of_digits_stays_doubtful_in_more_detail() -> None:
    picture = np.repeat(255 - draw_number("34")[..., None], 3, axis=2)
    ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
    coarse = read_ink(ink, 1.0, 1.0)
    assert coarse is not None
    for is_doubtful in (False, True):
        again = detect.read_closer(picture, coarse._replace(is_doubtful=is_doubtful), 1.0)
        assert again is not None
        assert again.is_doubtful == is_doubtful


def test_the_margin_line_of_an_empty_page_is_no_digit() -> None:
    page = np.full((320, 280), 225.0)
    page[:, :7] = 120
    noise = np.random.default_rng(0).normal(0, 2, page.shape)
    assert read_one(Image.fromarray((page + noise).astype(np.uint8))) == "no digit"


@pytest.mark.parametrize("drop", [0, 3])
def test_the_margin_line_of_an_empty_ruled_page_is_no_digit(drop: int) -> None:
    """It ends in a printed line along the border, and leans where the page is turned."""
    page = np.full((172, 163, 3), (235, 225, 220), np.uint8)
    for y in range(4, 172, 15):
        cv2.line(page, (0, y), (163, y + 10), (150, 150, 165), 1, cv2.LINE_AA)
    cv2.line(page, (15, 0), (15 + drop, 172), (190, 90, 100), 2, cv2.LINE_AA)
    photo = np.asarray(Image.fromarray(page).filter(GaussianBlur(0.7)))
    photo = photo + np.random.default_rng(0).normal(0, 3, photo.shape)
    assert read_one(Image.fromarray(photo.clip(0, 255).astype(np.uint8))) == "no digit"


@pytest.mark.parametrize("text", ["77", "111", "17"])
def test_thin_digits_from_border_to_border_are_no_lines(text: str) -> None:
    picture = np.full((200, 110 * len(text) + 60), 235, np.uint8)
    for place, digit in enumerate(text):
        left = 20 + 110 * place
        if digit == "7":
            cv2.line(picture, (left, 2), (left + 90, 2), 40, 4, cv2.LINE_AA)
        cv2.line(picture, (left + 90, 0), (left + 40, 199), 40, 4, cv2.LINE_AA)
    assert predict_picture(Image.fromarray(picture)).text == text


def test_faint_ink_makes_a_one_doubtful_if_it_is_the_strip_beside_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, is_doubtful in (("1", True), ("3", False)):
        picture = np.repeat(255 - draw_number(text)[..., None], 3, axis=2)
        ink = find_hypothesis_ink(picture, Hypothesis(False, False, 0.16, False))
        reading = read_ink(ink, 2.0, 2.0)
        assert reading is not None
        monkeypatch.setattr(detect, "remove_steps", lambda ink, _: ink & False)
        assert detect.include_faint_ink(reading).is_doubtful == is_doubtful


def test_a_bare_sheet_on_a_dark_table_is_no_digit() -> None:
    """The outline of the sheet was taken for two 1s."""
    rng = np.random.default_rng(0)
    table = np.full((800, 600, 3), (35, 25, 25)) + rng.normal(0, 6, (800, 1, 1))
    sheet = Image.new("L", (600, 800))
    ImageDraw.Draw(sheet).polygon([(30, 0), (600, 90), (530, 690), (10, 680)], fill=255)
    picture = np.where(np.asarray(sheet)[..., None] > 0, (215, 205, 150), table)
    picture = picture + rng.normal(0, 3, picture.shape)
    photo = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).filter(GaussianBlur(1))
    assert read_one(photo) == "no digit"


def test_a_piece_of_the_edge_of_a_bright_sheet_is_no_digit() -> None:
    """It was taken for a 1, at 100 %."""
    sheet = Image.new("L", (328, 235), 30)
    ImageDraw.Draw(sheet).polygon([(37, 25), (275, 28), (295, 197), (18, 235)], fill=148)
    noise = np.random.default_rng(0).normal(0, 4, (235, 328))
    photo = np.asarray(sheet.filter(GaussianBlur(1))) + noise
    assert read_one(Image.fromarray(photo.clip(0, 255).astype(np.uint8))) == "no digit"


@pytest.mark.parametrize("inverted", [False, True])
def test_a_digit_in_the_form_of_mnist_stays_as_it_is(inverted: bool) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 8:21] = image[7:24, 17:20] = 255
    image[5:23, 16] = image[7, 8:16] = 120
    again = find_digits(np.repeat((255 - image if inverted else image)[..., None], 3, axis=2))
    assert len(again) == 1
    seen = again[0].image.astype(int)
    shifted = [np.roll(image, (y, x), (0, 1)) for y in range(-3, 4) for x in range(-3, 4)]
    assert min(np.abs(seen - one).mean() for one in shifted) < 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3000, 3), (64, 2)])
def test_odd_shapes_without_ink_are_said_to_be_empty(shape: tuple[int, int]) -> None:
    assert read_one(Image.new("RGB", shape, "white")) == "no digit"


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("radius", [60, 130])
def test_the_outline_of_a_blot_is_no_zero(radius: int, inverted: bool) -> None:
    field = np.full((500, 600), 225, np.uint8)
    cv2.circle(field, (300, 250), radius, 70, -1, cv2.LINE_AA)
    field = cv2.GaussianBlur(255 - field if inverted else field, (0, 0), 1.5)
    noise = np.random.default_rng(0).normal(0, 3, field.shape)
    picture = Image.fromarray((field + noise).clip(0, 255).astype(np.uint8))
    assert read_one(picture) in ("no digit", "unsure")


@pytest.mark.parametrize("step", [40, 75])
def test_squared_paper_alone_is_no_digit(step: int) -> None:
    assert read_one(Image.fromarray(squared(step))) == "no digit"


def test_says_when_there_is_no_digit_or_several(tmp_path: Path) -> None:
    assert read_one(Image.new("RGB", (300, 200), "white")) == "no digit"
    two = np.hstack([draw_ink(), draw_ink(text="0")])
    answer = predict_picture(Image.fromarray(255 - two))
    assert (answer.status, answer.text) == ("number", "70")
    assert [digit.digit for digit in answer.digits] == [7, 0]
    assert answer.digits[0].box.right < 200 <= answer.digits[1].box.left
    assert answer.as_json()["digit"] is None


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, seven: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(seven.read_bytes()[:200])
    status, out, errors = run_predict(str(tmp_path), str(tmp_path / "absent.png"), "--json")
    answers = {Path(answer["file"]).name: answer for answer in json.loads(out)}
    assert status == 1
    assert answers["seven.png"]["digit"] == 7
    assert [answers[name]["status"] for name in ("empty.png", "text.png", "cut.png")] == [
        "error"
    ] * 3
    assert len(errors.splitlines()) == 4
    assert "Traceback" not in errors


def test_takes_patterns_standard_input_and_saves_what_was_seen(seven: Path) -> None:
    sheet = seven.with_name("sheet.webp")
    status, out, _ = run_predict(str(seven.parent / "*.png"), "--show", str(sheet))
    assert status == 0
    assert "7" in out
    with Image.open(sheet) as picture:
        assert picture.width > 2 * 140
    status, out, _ = run_predict("-", "--json", stdin=seven.read_bytes())
    assert (status, json.loads(out)[0]["digit"]) == (0, 7)


@pytest.mark.parametrize("pattern", ["sev**.png", "**.png", "**/*.png", "*/*.png", "[s]even.png"])
def test_takes_every_pattern_that_a_shell_takes(
    tmp_path: Path, seven: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "seven.png").write_bytes(seven.read_bytes())
    expected = {
        "**/*.png": ["more/seven.png", "seven.png"],
        "*/*.png": ["more/seven.png"],
    }.get(pattern, ["seven.png"])
    assert [str(path) for path in find_pictures([pattern])] == expected


def test_a_name_that_cannot_be_looked_up_does_not_stop_the_others(
    seven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, secret = "x" * 5000 + ".png", seven.with_name("secret")
    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path == secret:  # the tests may run as root, who may look up anything
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    status, out, errors = run_predict(long, str(secret), str(seven), "--json")
    assert status == 1
    assert [answer["status"] for answer in json.loads(out)] == ["error", "error", "digit"]
    assert "File name too long" in errors
    assert len(errors.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sheet.psd", "should end with .png"),
        ("sheet.txt", "should end with .png"),
        ("sheet", "should end with .png"),
        ("sheet.xbm", "cannot be written"),
        ("seven.png/sheet.png", "cannot be written"),
        ("folder.png", "cannot be written: Is a directory"),
    ],
)
def test_a_sheet_that_cannot_be_saved_is_refused_before_anything_is_read(
    seven: Path, name: str, message: str
) -> None:
    seven.with_name("folder.png").mkdir()
    status, out, errors = run_predict(str(seven), "--show", str(seven.parent / name))
    assert (status, out) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"error: {seven.parent / name} ")
    assert message in line
    assert {path.name for path in seven.parent.iterdir()} == {"seven.png", "folder.png"}


def test_a_sheet_has_a_largest_size(seven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "MAX_CONTACT_SHEET_PIXELS", 300_000)
    sheet = seven.with_name("sheet.png")
    status, _, errors = run_predict(*[str(seven)] * 9, "--show", str(sheet))
    assert (status, errors) == (0, f"{sheet} shows 5 pictures; more do not fit\n")
    with Image.open(sheet) as picture:
        assert picture.width * picture.height <= 300_000


def test_cells_of_a_sheet_are_put_in_lines_without_overlapping() -> None:
    widths = [contact_sheet.cell_width(digits) for digits in (5, 12, 1, 1, 6, 5)]
    cells = [Image.new("RGB", (width, contact_sheet.CELL_HEIGHT)) for width in widths]
    places, size = contact_sheet.arrange_cells(cells)
    high = contact_sheet.CELL_HEIGHT
    third = [0, widths[2], widths[2] + widths[3], 0]
    assert [y // high for _, y in places] == [0, 1, 2, 2, 2, 3]
    assert [x for x, _ in places] == [0, 0, *third]
    assert size == (widths[1], 4 * high)


def test_a_caption_has_the_confidence_of_the_whole_text_and_its_doubt() -> None:
    probabilities = np.full(10, 0.01, np.float32)
    probabilities[7] = 0.91
    blank = np.zeros((28, 28), np.uint8)
    sure = DigitPrediction(Box(0, 0, 9, 9), blank, probabilities)
    doubtful = sure._replace(count_probability=0.5)
    captions = {
        format_caption(ImagePrediction("a.png", None, digits))
        for digits in ([], [sure], [doubtful], 12 * [sure])
    }
    assert captions == {"no digit found", "7  91.0%", "7?  45.5%", "777777777…?  32.2%"}


def test_refuses_a_bomb_and_an_empty_folder(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    with pytest.raises(UserError, match="pixels"):
        decode(file.getvalue(), "bomb.png")
    status, _, errors = run_predict(str(tmp_path))
    assert (status, errors.splitlines()) == (1, [f"error: there is no picture in {tmp_path}"])


def test_answers_without_loading_pytorch(seven: Path) -> None:
    code = (
        "import sys; from tiny_mnist.cli import app\n"
        f"try: app(['predict', {str(seven)!r}])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'lightning', 'torchvision', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "set()"


def test_a_picture_is_not_replaced_by_the_contact_sheet(
    seven: Path,
) -> None:
    before = seven.read_bytes()
    status, _, errors = run_predict(str(seven), "--show", str(seven))
    assert (status, errors) == (
        1,
        f"error: --show {seven} would replace one of the pictures; choose another name\n",
    )
    assert seven.read_bytes() == before
