"""Rendered pictures of things that are not digits."""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from research.pictures.strokes import Draw, Mask, crop_to_ink
from research.pictures.surfaces import (
    Picture,
    apply_ink,
    compress_jpeg,
    draw_ruling,
    ink_colour,
    lay_on_table,
    photo_size,
    photograph,
    place_on_canvas,
    sheet,
    wood,
)


def scribble(rng: np.random.Generator) -> Mask:
    """Random strokes of a pen."""
    mask = np.zeros((400, 400), np.uint8)
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(30, 370, (rng.integers(4, 12), 2)).round().astype(np.int32)
        cv2.polylines(mask, [points], False, 255, int(rng.integers(12, 36)), cv2.LINE_AA)
    return crop_to_ink(mask)


def grid_corner(rng: np.random.Generator) -> Mask:
    """Pieces of printed lines that meet."""
    mask = np.zeros((400, 400), np.uint8)
    thick = int(rng.integers(10, 30))
    for x in rng.choice([40, 200, 360], rng.integers(1, 3), replace=False):
        cv2.line(mask, (int(x), 20), (int(x), 380), 255, thick)
    for y in rng.choice([40, 200, 360], rng.integers(1, 3), replace=False):
        cv2.line(mask, (20, int(y)), (380, int(y)), 255, thick)
    return crop_to_ink(mask)


def line(rng: np.random.Generator) -> Mask:
    """A line below a number, or a piece of a ruled one."""
    mask = np.zeros((200, 800), np.uint8)
    length, drop = int(rng.uniform(150, 700)), int(rng.normal(0, 15))
    ends = (40, 100), (40 + length, 100 + drop)
    cv2.line(mask, *ends, 255, int(rng.integers(6, 30)), cv2.LINE_AA)
    return crop_to_ink(mask)


def ignore_width(mask: Mask, width: float) -> Mask:
    """The shape, whatever the pen's width."""
    return mask


def letter(shapes: Callable[[str, np.random.Generator], Mask], rng: np.random.Generator) -> Mask:
    """A letter that does not look like a digit."""
    return shapes(str(rng.choice(list("ABCDEFHKMNPRTUVWXYacdefhkmnprtuvwxy&@#%?"))), rng)


def blurred(draw: Draw, rng: np.random.Generator) -> Picture:
    """A digit far out of focus."""
    shape = (300, 300)
    cover = place_on_canvas(draw(rng.uniform(0.05, 0.1)), shape, (0.5, 0.8), rng)
    picture = np.asarray(photograph(apply_ink(sheet(shape, rng), cover, ink_colour(rng)), rng))
    soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(18, 35))
    grainy = soft + rng.normal(0, 3, soft.shape)
    return compress_jpeg(Image.fromarray(grainy.clip(0, 255).astype(np.uint8)), rng)


def blank(rng: np.random.Generator) -> Picture:
    """No digit: paper of every kind, a table, a board, an empty canvas."""
    shape = photo_size(rng)
    surface = sheet(shape, rng)
    kind = rng.choice(["paper", "squared", "ruled", "desk", "wood", "board", "canvas"])
    if kind in ("squared", "ruled"):
        surface = draw_ruling(surface, rng, str(kind))
    elif kind == "desk":
        surface = lay_on_table(surface, rng)
    elif kind == "wood":
        surface = wood(shape, rng)
    elif kind == "board":
        surface = surface * np.float32(rng.uniform(0.1, 0.25))
    elif kind == "canvas":
        return Image.new("RGB", shape, tuple(int(c) for c in rng.choice([0, 255, 128], 3)))
    return photograph(surface, rng)
