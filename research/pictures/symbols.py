"""Rendered symbols that stand beside digits: separators, signs of sums, currencies."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from research.pictures.digits import draw_character
from research.pictures.strokes import Mask, crop_to_ink

DrawSymbol = Callable[[int, float, np.random.Generator], tuple[Mask, float]]
"""From the height of a digit in pixels and the width of the pen, as a part of it, to a symbol and
how high above the line it stands, as a part of that height."""

SEPARATORS = ("dash", "point", "slash", "plus", "equals", "comma", "colon", "parenthesis")

FONT_SYMBOLS = "/////////------....,,,::++++==(())%%%$$$€€€##££××÷*xx–&°?'\""
"""Symbols of fonts, as often as they are drawn."""
LOWEST, HIGHEST = -0.4, 1.4  # in digit heights above the line: where symbols of fonts may be


def separator(height: int, width: float, rng: np.random.Generator) -> tuple[Mask, float]:
    """What stands between the digits of codes, phone numbers and sums, and how high it stands."""
    thick = max(2, round(width * height))
    kind = str(rng.choice(SEPARATORS))
    if kind in ("point", "colon"):
        apart = round(height * rng.uniform(0.25, 0.45)) if kind == "colon" else 0
        mask = np.zeros((apart + 2 * thick, 2 * thick), np.uint8)
        for middle in {thick, thick + apart}:
            cv2.circle(mask, (thick, middle), max(1, round(0.8 * thick)), 255, -1)
        return crop_to_ink(mask), 0.1 if apart else 0.0
    if kind in ("slash", "comma", "parenthesis"):
        return draw_upright_mark(kind, height, thick, rng)
    long = round(height * rng.uniform(0.25, 0.45))
    mask = np.zeros((long, long), np.uint8)
    bars = (long // 4, 3 * long // 4) if kind == "equals" else (long // 2,)
    for y in bars:
        cv2.line(mask, (0, y), (long, y + int(rng.integers(-3, 4))), 255, thick)
    if kind == "plus":
        cv2.line(mask, (long // 2, 0), (long // 2, long), 255, thick)
    return crop_to_ink(np.asarray(mask, np.uint8)), 0.35


def draw_upright_mark(
    kind: str, height: int, thick: int, rng: np.random.Generator
) -> tuple[Mask, float]:
    """A slash, comma or parenthesis, and how high it stands."""
    mask = np.zeros((2 * height, 2 * height), np.uint8)
    if kind == "comma":
        drop = height * rng.uniform(0.12, 0.25)
        ends = (height, height), (round(height - 0.5 * drop), round(height + drop))
        cv2.line(mask, *ends, 255, thick)
        return crop_to_ink(mask), -0.6 * drop / height
    if kind == "parenthesis":
        bend, high = round(height * rng.uniform(0.15, 0.3)), round(height * rng.uniform(0.5, 0.62))
        side = 0 if rng.random() < 0.5 else 180
        cv2.ellipse(mask, (height, height), (bend, high), side, 110, 250, 255, thick)
        return crop_to_ink(mask), -0.08
    cv2.line(mask, (round(0.55 * height), 0), (round(0.2 * height), height), 255, thick)
    return crop_to_ink(mask), 0.0


def font_symbol(
    paths: list[Path], height: int, width: float, rng: np.random.Generator
) -> tuple[Mask, float]:
    """A symbol of a font that has it, as large beside digits as the font makes it."""
    while True:
        path = paths[rng.integers(len(paths))]
        character = FONT_SYMBOLS[rng.integers(len(FONT_SYMBOLS))]
        (mask, bottom), (missing, _) = (
            draw_character(path, each) for each in (character, "\uffff")
        )
        digit, line = draw_character(path, "0")
        level, size = (line - bottom) / len(digit), len(mask) / len(digit)
        drawn = mask.any() and not np.array_equal(mask, missing)
        if drawn and level >= LOWEST and level + size <= HIGHEST:
            break
    shape = [max(2, round(side * height / len(digit))) for side in mask.shape[::-1]]
    return np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_AREA), np.uint8), level
