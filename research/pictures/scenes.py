"""Pictures as people take, scan and draw them, rendered over the shape of a digit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from PIL import Image

from research.pictures.canvases import (
    as_mnist,
    enlarged_mnist,
    paint28,
    screen,
    thin_screen,
    tight16,
    tiny,
    transparent,
)
from research.pictures.strokes import Draw
from research.pictures.surfaces import (
    Picture,
    apply_ink,
    compress_jpeg,
    draw_ruling,
    ink,
    ink_colour,
    lay_on_table,
    light,
    noise,
    paper,
    photo_size,
    photograph,
    place_on_canvas,
    sheet,
)

Scene = Callable[[Draw, np.random.Generator], Picture]


def photo(
    draw: Draw,
    rng: np.random.Generator,
    width: tuple[float, float] = (0.03, 0.09),
    part: tuple[float, float] = (0.35, 0.9),
    lines: str = "",
    strong: float = 1,
) -> Picture:
    """Ink on paper, photographed."""
    shape = photo_size(rng)
    surface = sheet(shape, rng)
    if lines:
        surface = draw_ruling(surface, rng, lines)
    cover = place_on_canvas(draw(rng.uniform(*width)), shape, part, rng)
    cover = cover * np.clip(0.9 + 0.1 * noise(shape, 4, rng), 0, 1)
    return photograph(apply_ink(surface, cover, ink_colour(rng)), rng, strong)


def pencil(draw: Draw, rng: np.random.Generator) -> Picture:
    """A thin, pale, grainy line."""
    shape = photo_size(rng)
    cover = place_on_canvas(draw(rng.uniform(0.018, 0.04)), shape, (0.4, 0.9), rng)
    grain = np.clip(0.75 + 0.35 * noise(shape, 1.5, rng), 0.1, 1) * rng.uniform(0.45, 0.8)
    grey = np.full(3, rng.uniform(0.2, 0.4), np.float32)
    return photograph(apply_ink(sheet(shape, rng), cover * grain, grey), rng, 0.7)


def table_edge(draw: Draw, rng: np.random.Generator) -> Picture:
    """A sheet of paper on a darker table, specks on it."""
    shape = photo_size(rng)
    surface = sheet(shape, rng)
    cover = place_on_canvas(draw(rng.uniform(0.04, 0.09)), shape, (0.3, 0.55), rng)
    rows, columns = np.flatnonzero(cover.max(1) > 0.5), np.flatnonzero(cover.max(0) > 0.5)
    for _ in range(rng.integers(1, 6)):
        centre = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        cv2.circle(surface, centre, max(1, min(shape) // 300), (0.3, 0.3, 0.3), -1, cv2.LINE_AA)
    surface = apply_ink(surface, cover, ink_colour(rng))
    table = rng.uniform(0.1, 0.5, 3).astype(np.float32)
    margin = [0.3 * rows[0], 0.3 * columns[0]]
    far = [0.3 * (shape[0] - 1 - rows[-1]), 0.3 * (shape[1] - 1 - columns[-1])]
    for side in rng.permutation(4)[: rng.integers(1, 4)]:
        if side == 0:
            surface[: int(margin[0])] = table
        elif side == 1:
            surface[:, : int(margin[1])] = table
        elif side == 2:
            surface[shape[0] - int(far[0]) :] = table
        else:
            surface[:, shape[1] - int(far[1]) :] = table
    return photograph(surface, rng, 0.7)


def board(draw: Draw, rng: np.random.Generator) -> Picture:
    """Chalk on a dark board."""
    shape = photo_size(rng)
    tone = np.array([0.15, 0.2, 0.17], np.float32) * rng.uniform(0.6, 1.6)
    smears = np.clip(1 + 0.1 * noise(shape, max(shape) / 6, rng), 0.5, 2)
    surface = np.asarray(paper(shape, rng)[..., None] * tone * smears[..., None], np.float32)
    cover = place_on_canvas(draw(rng.uniform(0.04, 0.12)), shape, (0.4, 0.9), rng)
    cover = cover * np.clip(0.75 + 0.2 * noise(shape, 2, rng), 0.2, 1)
    return photograph(apply_ink(surface, cover, np.full(3, 0.85, np.float32)), rng)


def scan(draw: Draw, rng: np.random.Generator) -> Picture:
    """A clean grey scan, any margins."""
    side = int(rng.uniform(60, 900))
    shape = (side, int(side * rng.uniform(0.7, 1.3)))
    cover = place_on_canvas(draw(rng.uniform(0.03, 0.1)), shape, (0.4, 0.97), rng)
    field: Any = 0.97 - cover * rng.uniform(0.6, 0.95) + rng.normal(0, 0.012, shape)
    field = cv2.GaussianBlur(field.astype(np.float32), (0, 0), 0.6)
    return compress_jpeg(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), rng)


def crop(draw: Draw, rng: np.random.Generator) -> Picture:
    """Cut so tightly from a photo that the digit touches the borders."""
    mask = draw(rng.uniform(0.05, 0.14))
    side = int(rng.uniform(30, 500))
    scale = side / max(mask.shape)
    shape = (max(8, int(mask.shape[0] * scale)), max(8, int(mask.shape[1] * scale)))
    cover = ink(mask, shape, side * 1.01, (shape[1] / 2, shape[0] / 2))
    surface = apply_ink(sheet(shape, rng), cover, ink_colour(rng))
    field = surface * light(shape, rng, 0.5)[..., None] * rng.uniform(0.6, 0.95)
    field = field + rng.normal(0, 0.01, field.shape)
    return compress_jpeg(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), rng)


def corner(draw: Draw, rng: np.random.Generator) -> Picture:
    """A small digit, far from the middle of a large sheet."""
    return photo(draw, rng, width=(0.05, 0.1), part=(0.07, 0.2), strong=0.7)


def marker(draw: Draw, rng: np.random.Generator) -> Picture:
    """A thick felt pen."""
    return photo(draw, rng, width=(0.13, 0.2), part=(0.5, 0.95))


def dim(draw: Draw, rng: np.random.Generator) -> Picture:
    """Taken in the dark by a moving hand: grey paper, noise, motion blur."""
    picture = np.asarray(photo(draw, rng, width=(0.05, 0.1)), np.float32) / 255
    long = max(picture.shape[:2])
    steps = max(2, round(long * rng.uniform(0.004, 0.015)))
    kernel = np.zeros((steps, steps), np.float32)
    cv2.line(kernel, (0, int(rng.integers(steps))), (steps - 1, int(rng.integers(steps))), 1)
    field: Any = cv2.filter2D(picture, -1, kernel / kernel.sum()) * rng.uniform(0.3, 0.6)
    field = field + rng.normal(0, 0.015, field.shape)
    return compress_jpeg(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), rng)


def desk(draw: Draw, rng: np.random.Generator) -> Picture:
    """A sheet askew on a wooden table."""
    shape = photo_size(rng)
    surface = sheet(shape, rng)
    if rng.random() < 0.3:
        surface = draw_ruling(surface, rng, "ruled" if rng.random() < 0.5 else "squared")
    cover = place_on_canvas(draw(rng.uniform(0.05, 0.1)), shape, (0.25, 0.6), rng)
    return photograph(lay_on_table(apply_ink(surface, cover, ink_colour(rng)), rng), rng, 0.7)


def one_bit(draw: Draw, rng: np.random.Generator) -> Picture:
    """A scan in black and white with salt and pepper."""
    side = int(rng.uniform(60, 900))
    shape = (side, int(side * rng.uniform(0.7, 1.3)))
    cover = place_on_canvas(draw(rng.uniform(0.04, 0.12)), shape, (0.4, 0.95), rng)
    field = cover + rng.normal(0, 0.12, shape) > 0.5
    field ^= rng.random(shape) < rng.uniform(0, 0.02)
    return Image.fromarray(~field)


def boxed(draw: Draw, rng: np.random.Generator) -> Picture:
    """A field of a form, scanned: a printed frame around the digit."""
    side = int(rng.uniform(60, 500))
    shape = (side, int(side * rng.uniform(0.75, 1)))
    cover = place_on_canvas(draw(rng.uniform(0.05, 0.1)), shape, (0.45, 0.7), rng)
    frame = np.zeros(shape, np.float32)
    margin, thick = (
        max(1, round(side * rng.uniform(*part))) for part in ((0.02, 0.07), (0.008, 0.03))
    )
    low, high = (margin, margin), (shape[1] - 1 - margin, shape[0] - 1 - margin)
    cv2.rectangle(frame, low, high, 1, thick)
    inner = np.zeros(shape, np.float32)
    inner[margin + thick + 2 : -margin - thick - 2, margin + thick + 2 : -margin - thick - 2] = 1
    dark = np.maximum(cover * inner * rng.uniform(0.7, 0.95), frame * rng.uniform(0.4, 0.95))
    field: Any = 0.97 - dark + rng.normal(0, 0.012, shape)
    return compress_jpeg(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), rng)


def cut_out(draw: Draw, rng: np.random.Generator) -> Picture:
    """Cut from a line of writing: bits of the neighbours at the borders."""
    side = int(rng.uniform(40, 400))
    shape = (side, side)
    width = rng.uniform(0.05, 0.11)
    cover = place_on_canvas(draw(width), shape, (0.6, 0.8), rng)
    columns = np.flatnonzero(cover.max(0) > 0.3)
    neighbour = draw(width)
    wide = 0.7 * side * neighbour.shape[1] / max(neighbour.shape)
    room = (columns[0], side - 1 - columns[-1])
    right = bool(room[1] > room[0])
    seen = 0.5 * min(wide, room[right])  # pixels of the neighbour that can be seen
    x = side - seen + wide / 2 if right else seen - wide / 2
    cover = np.maximum(cover, ink(neighbour, shape, 0.7 * side, (x, side / 2)))
    return photograph(apply_ink(sheet(shape, rng), cover, ink_colour(rng)), rng, 0.5)


SCENES: dict[str, Scene] = {
    "28×28, as MNIST": as_mnist,
    "28×28, enlarged": enlarged_mnist,
    "28×28, paint": paint28,
    "16×16, tight": tight16,
    "10 to 32 pixels": tiny,
    "screen": screen,
    "screen, thin": thin_screen,
    "transparent": transparent,
    "scan": scan,
    "scan, 1 bit": one_bit,
    "scan, boxed": boxed,
    "crop": crop,
    "photo": photo,
    "photo, squared paper": partial(photo, lines="squared"),
    "photo, dark squares": partial(photo, lines="dark squared"),
    "photo, ruled paper": partial(photo, lines="ruled"),
    "photo, pencil": pencil,
    "photo, marker": marker,
    "photo, corner": corner,
    "photo, dim": dim,
    "photo, table": table_edge,
    "photo, desk": desk,
    "photo, cut out": cut_out,
    "photo, board": board,
}
