"""Numbers in small pictures that are drawn here: what is one digit, and what is none."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image

from tiny_mnist.inference.image_io import LoadedImage, to_rgb
from tiny_mnist.inference.predictor import ImagePrediction, predict_images, pretrained_network
from tiny_mnist.inference.rows.components import find_components
from tiny_mnist.inference.rows.cuts import find_cuts
from tiny_mnist.inference.rows.slant import slant_of

STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "1": [[(0.3, 0), (0.3, 1)]],
    "2": [[(0, 0.25), (0.1, 0.06), (0.3, 0), (0.5, 0.08), (0.55, 0.28), (0, 1), (0.6, 1)]],
    "3": [[(0, 0.1), (0.3, 0), (0.52, 0.2), (0.2, 0.46), (0.55, 0.7), (0.3, 1), (0, 0.9)]],
    "4": [[(0.15, 0), (0, 0.6), (0.6, 0.6)], [(0.45, 0.25), (0.45, 1)]],
    "7": [[(0, 0), (0.55, 0), (0.2, 1)]],
}
"""In a box of height 1, y down. A 0 is an ellipse."""


def draw_number(
    text: str,
    gap: float = 0.25,
    slant: float = 0.0,
    heights: Sequence[float] = (),
    size: int = 80,
) -> np.ndarray:
    """White digits on black in one row.

    Args:
        text: of the digits in `STROKES`, and 0.
        gap: between neighbours, in heights.
        slant: columns to the right for one row up.
        heights: of each digit, standing on the same line, in heights; else 1.
        size: a height in pixels.
    """
    canvas = np.zeros((2 * size, int((len(text) + 2) * size)), np.uint8)
    x = 0.6 * size
    for place, digit in enumerate(text):
        high = size * (heights[place] if heights else 1.0)
        top, width = 1.4 * size - high, 0.6 * high
        if digit == "1":
            x -= 0.3 * high
            width = 0.3 * high
        if digit == "0":
            angle = np.linspace(0, 2 * np.pi, 40)
            lines = [np.stack([0.3 + 0.3 * np.cos(angle), 0.5 + 0.5 * np.sin(angle)], 1)]
        else:
            lines = [np.array(line) for line in STROKES[digit]]
        for line in lines:
            y = top + line[:, 1] * high
            points = np.stack([x + line[:, 0] * high + slant * (1.4 * size - y), y], 1)
            cv2.polylines(canvas, [points.round().astype(np.int32)], False, 255, 8, cv2.LINE_AA)
        x += width + gap * size
    return canvas[:, : int(x + 0.8 * size)]


def read(ink: np.ndarray) -> ImagePrediction:
    """What is read in a scan of white ink on black."""
    noise = np.random.default_rng(0).normal(0, 2, ink.shape)
    picture = Image.fromarray((240 - 0.8 * ink + noise).clip(0, 255).astype(np.uint8))
    sources = [("scan", lambda: LoadedImage(to_rgb(picture)))]
    (prediction,) = predict_images(sources, pretrained_network())
    return prediction


@pytest.mark.parametrize("slant", [-0.15, 0.0, 0.25, 0.45])
def test_slanted_digits_are_read_one_by_one(slant: float) -> None:
    assert read(draw_number("20374", slant=slant)).text == "20374"


def test_the_slant_of_a_stroke_is_measured() -> None:
    ink = draw_number("1", slant=0.4) > 127
    labels, parts = find_components(ink, np.zeros_like(ink), cut=False)
    assert slant_of(labels, parts[0]) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("gap", [0.05, 0.6])
def test_close_and_distant_neighbours_are_read(gap: float) -> None:
    assert read(draw_number("3207", gap=gap)).text == "3207"


def test_a_small_zero_beside_tall_digits_is_a_digit() -> None:
    assert read(draw_number("2073", heights=(1, 0.45, 1, 1))).text == "2073"


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
