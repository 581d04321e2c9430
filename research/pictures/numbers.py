"""Rendered pictures of numbers."""

from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from research.pictures.digits import Shape
from research.pictures.strokes import Draw, Mask, crop_to_ink
from research.pictures.surfaces import (
    Picture,
    apply_ink,
    compress_jpeg,
    hard_shadow,
    ink_colour,
    noise,
    photograph,
    sheet,
)
from research.pictures.symbols import DrawSymbol, separator

AFFIX = 0.3  # probability of a separator before, and of one after, a row with affixes


class Row(NamedTuple):
    """How the digits of a row stand beside each other; lengths are parts of a digit's height."""

    gap: tuple[float, float] = (0.06, 0.35)
    """Smallest horizontal distance between the ink of neighbours; negative: they touch."""
    slant: tuple[float, float] = (-0.1, 0.2)
    heights: tuple[float, float] = (0.85, 1.1)
    small: float = 0.0
    """Probability that a digit is only 0.4 to 0.6 of the others' height."""
    jump: float = 0.03
    """Standard deviation of a digit's distance from the line that the row stands on."""
    separators: bool = False
    """Whether dashes, points and slashes stand between some digits."""
    affixes: bool = False
    """Whether separators also stand before and after the number, and further apart."""
    boxes: bool = False
    """Whether each digit has a printed frame."""


class RowDrawing(NamedTuple):
    """A row of digits; all masks have the same shape."""

    ink: Mask
    digits: list[Mask]
    """The ink of each digit alone, from left to right."""


def draw_row(
    draws: list[Draw],
    row: Row,
    height: int,
    rng: np.random.Generator,
    symbols: DrawSymbol = separator,
) -> Mask:
    """Ink of digits in a row, cropped."""
    return crop_to_ink(draw_layers(draws, row, height, rng, symbols).ink)


def draw_layers(
    draws: list[Draw],
    row: Row,
    height: int,
    rng: np.random.Generator,
    symbols: DrawSymbol = separator,
) -> RowDrawing:
    """Ink of digits in a row, together and one by one, with empty margins.

    Args:
        draws: the digits.
        row: how they stand.
        height: of the digits, in pixels.
        rng: random numbers.
        symbols: what draws the separators of a row with affixes.
    """
    width, slant = rng.uniform(0.05, 0.1), rng.uniform(*row.slant)
    canvas = np.zeros((2 * height, 2 * height * (len(draws) + 1)), np.uint8)
    digits: list[Mask] = []
    edge = np.full(canvas.shape[0], -1.0)  # right edge of the ink so far in each image row
    low, high = np.log(max(row.gap[0], 0.01)), np.log(max(row.gap[1], 0.01))
    gap = float(np.exp(rng.uniform(low, high))) if row.gap[0] > 0 else rng.uniform(*row.gap)
    draw_symbol = symbols if row.affixes else separator
    x = 0.0
    if row.affixes and rng.random() < AFFIX:
        mark, level = draw_symbol(height, width, rng)
        mark = shear(mark, slant)
        edge = paste(canvas, mark, int(1.5 * height - level * height) - mark.shape[0], 0, edge)
    for place, draw in enumerate(draws):
        small = rng.random() < row.small
        part = rng.uniform(0.4, 0.6) if small else rng.uniform(*row.heights)
        mask = shear(resize_to(crop_to_ink(draw(width)), round(part * height)), slant)
        rise = rng.uniform(0, 1 - part) if small else rng.normal(0, row.jump)
        top = int(1.5 * height - mask.shape[0] - rise * height)
        top = min(max(0, top), canvas.shape[0] - mask.shape[0])
        x = next_left(edge, mask, top, gap * height) if edge.max() >= 0 else 0
        edge = paste(canvas, mask, top, round(x), edge)
        digits.append(np.zeros_like(canvas))
        paste(digits[-1], mask, top, round(x), edge)
        inner = row.separators and 0 < place < len(draws) - 1 and rng.random() < 0.35
        if inner or (row.affixes and place == len(draws) - 1 and rng.random() < AFFIX):
            mark, level = draw_symbol(height, width, rng)
            if row.affixes:
                mark = shear(mark, slant)
            top = int(1.5 * height - level * height) - mark.shape[0]
            left = next_left(edge, mark, top, 0.12 * height)
            left = max(left, edge.max() + 0.06 * height - mark.shape[1] * 0.3)
            left += rng.uniform(0, 0.4) * height if row.affixes else 0
            edge = paste(canvas, mark, top, round(left), edge)
    return RowDrawing(canvas, digits)


def next_left(edge: NDArray[np.float64], mask: Mask, top: int, gap: float) -> float:
    """Left end of a shape whose ink keeps this distance from the ink before it."""
    kernel = np.ones((max(3, int(abs(gap))) | 1, 1), np.uint8)
    near = np.asarray(cv2.dilate(edge[:, None], kernel), float)[:, 0]
    rows = np.flatnonzero(mask.max(1) > 127)
    left = (mask[rows] > 127).argmax(1)
    found = near[rows + top] - left
    known = near[rows + top] >= 0
    return float(max((found[known].max() if known.any() else edge.max()) + gap, 0))


def paste(
    canvas: Mask, mask: Mask, top: int, left: int, edge: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Put a shape on the canvas, in place; returns the new right edges."""
    area = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[:] = np.maximum(area, mask[:, : area.shape[1]])
    rows = np.flatnonzero(mask.max(1) > 127)
    right = left + mask.shape[1] - 1 - (mask[rows] > 127)[:, ::-1].argmax(1)
    edge = edge.copy()
    edge[rows + top] = np.maximum(edge[rows + top], right)
    return edge


def resize_to(mask: Mask, height: int) -> Mask:
    """The shape with this height, or this width where it is wider than high."""
    scale = height / max(mask.shape)
    size = [max(2, round(side * scale)) for side in mask.shape[::-1]]
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def shear(mask: Mask, slant: float) -> Mask:
    """The shape leaning to the right."""
    wide = int(abs(slant) * mask.shape[0]) + 1
    shift = slant * mask.shape[0] if slant > 0 else 0.0
    motion = np.array([[1, -slant, shift], [0, 1, 0]], np.float32)
    leaning = cv2.warpAffine(mask, motion, (mask.shape[1] + wide, mask.shape[0]))
    return crop_to_ink(np.asarray(leaning, np.uint8))


def draw_lines(
    surface: NDArray[np.float32], height: int, bottom: int, lines: str, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Paper with printed lines as far apart as people write on them."""
    shape = surface.shape[:2]
    cover = np.zeros(shape, np.uint8)
    step = height * (rng.uniform(1.1, 1.8) if lines == "ruled" else rng.uniform(0.45, 0.9))
    thick = max(1, round(height * rng.uniform(0.01, 0.03)))
    tilt = rng.normal(0, 0.015)
    for line in range(-40, 40):
        y = bottom + 0.05 * height + line * step
        ends = [(0, round(y)), (shape[1], round(y + tilt * shape[1]))]
        cv2.line(cover, ends[0], ends[1], 255, thick, cv2.LINE_AA)
        if lines == "squared":
            x = line * step
            cv2.line(cover, (round(x), 0), (round(x - tilt * shape[0]), shape[0]), 255, thick)
    colour = np.array([0.45, 0.6, 0.8], np.float32) * rng.uniform(0.7, 1.25)
    return apply_ink(surface, np.asarray(cover * (0.7 / 255), np.float32), colour)


def number(
    rows: list[list[Draw]],
    style: Row,
    rng: np.random.Generator,
    carrier: str,
    lines: str = "",
    symbols: DrawSymbol = separator,
) -> Picture:
    """A picture of one row of digits or several, photographed, scanned or drawn on a screen.

    A photograph with the carrier "crop" ends where the ink does, on about half of its sides.
    """
    height = int(np.exp(rng.uniform(np.log(40), np.log(130))))
    draw = draw_boxes if style.boxes else partial(draw_row, symbols=symbols)
    masks = [draw(draws, style, height, rng) for draws in rows]
    margin = [int(height * rng.uniform(0.3, 1)) for _ in range(4)]
    if carrier == "crop":
        margin = [0 if rng.random() < 0.5 else length for length in margin]
    between = int(height * rng.uniform(0.35, 0.9))
    shape = (
        margin[0] + margin[1] + sum(m.shape[0] for m in masks) + between * (len(masks) - 1),
        margin[2] + margin[3] + max(m.shape[1] for m in masks),
    )
    cover = np.zeros(shape, np.float32)
    top = margin[0]
    for mask in masks:
        left = margin[2]
        cover[top : top + mask.shape[0], left : left + mask.shape[1]] = mask / np.float32(255)
        top += mask.shape[0] + between
    if carrier == "screen":
        field = (cover * 255).astype(np.uint8)
        return Image.fromarray(field if rng.random() < 0.4 else 255 - field)
    if carrier == "scan":
        grey = 0.97 - cover * rng.uniform(0.6, 0.95) + rng.normal(0, 0.012, shape)
        blurred = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.6)
        return compress_jpeg(Image.fromarray((blurred.clip(0, 1) * 255).astype(np.uint8)), rng)
    surface = sheet(shape, rng)
    if lines:
        surface = draw_lines(surface, height, margin[0] + masks[0].shape[0], lines, rng)
    cover = cover * np.clip(0.9 + 0.1 * noise(shape, 4, rng), 0, 1)
    written = apply_ink(surface, cover, ink_colour(rng))
    if carrier == "shadow":
        written = written * hard_shadow(shape, rng)[..., None]
    return photograph(written, rng, 0.7)


def draw_boxes(draws: list[Draw], row: Row, height: int, rng: np.random.Generator) -> Mask:
    """Digits in the printed cells of a form, side by side or apart."""
    width, thick = rng.uniform(0.05, 0.09), max(1, round(height * rng.uniform(0.015, 0.04)))
    side, apart = round(height * rng.uniform(1.25, 1.7)), int(rng.choice([0, 0.2]) * height)
    canvas = np.zeros((side + 4 * thick, (side + apart) * len(draws) + 4 * thick), np.uint8)
    for place, draw in enumerate(draws):
        left = 2 * thick + place * (side + apart)
        mask = resize_to(crop_to_ink(draw(width)), round(height * rng.uniform(0.8, 1.05)))
        top = 2 * thick + (side - mask.shape[0]) // 2 + int(rng.normal(0, 0.03) * height)
        x = left + (side - mask.shape[1]) // 2 + int(rng.normal(0, 0.05) * height)
        area = canvas[top : top + mask.shape[0], x : x + mask.shape[1]]
        area[:] = np.maximum(area, mask[: area.shape[0], : area.shape[1]])
        corners = (left, 2 * thick), (left + side, 2 * thick + side)
        cv2.rectangle(canvas, *corners, int(rng.uniform(150, 255)), thick)
    return crop_to_ink(canvas)


NumberScene = tuple[Row, str, str, int]
"""Style, carrier (photo, shadow, crop, scan or screen), lines of the paper, number of rows."""

NUMBER_SCENES: dict[str, NumberScene] = {
    "row, screen": (Row(), "screen", "", 1),
    "row, scan": (Row(), "scan", "", 1),
    "row, photo": (Row(), "photo", "", 1),
    "row, wide": (Row(gap=(0.35, 0.7)), "photo", "", 1),
    "row, tight": (Row(gap=(0.02, 0.06)), "scan", "", 1),
    "row, slanted": (Row(gap=(0.03, 0.15), slant=(0.25, 0.5)), "photo", "", 1),
    "row, touching": (Row(gap=(-0.07, 0.01)), "scan", "", 1),
    "row, unequal": (Row(heights=(0.75, 1.15), small=0.35), "photo", "", 1),
    "row, ruled": (Row(), "photo", "ruled", 1),
    "row, squared": (Row(), "photo", "squared", 1),
    "row, boxed": (Row(boxes=True), "scan", "", 1),
    "row, separators": (Row(separators=True), "photo", "", 1),
    "row, symbols": (Row(separators=True, affixes=True), "photo", "", 1),
    "row, shadow": (Row(), "shadow", "", 1),
    "rows": (Row(), "photo", "", 3),
    "row, cropped": (Row(), "crop", "", 1),
}


def make_draw(shape: Shape, digit: int, rng: np.random.Generator) -> Draw:
    """A digit of one source as a function of the pen's width."""
    return partial(lambda width, shape: shape(digit, width, rng), shape=shape)


def number_picture(
    scene: NumberScene,
    shapes: dict[str, Shape],
    rng: np.random.Generator,
    symbols: DrawSymbol = separator,
) -> tuple[str, Picture]:
    """A number of 2 to 10 digits, written by one hand, and its picture."""
    style, carrier, lines, rows = scene
    shape = shapes[list(shapes)[rng.integers(len(shapes))]]
    count = rng.integers(2, 11) if rows == 1 else rng.integers(2, 6)
    several = 1 if rows == 1 else int(rng.integers(2, rows + 1))
    digits = [rng.integers(10, size=count) for _ in range(several)]
    draws = [[make_draw(shape, int(digit), rng) for digit in row] for row in digits]
    text = "\n".join("".join(str(digit) for digit in row) for row in digits)
    return text, number(draws, style, rng, carrier, lines, symbols)
