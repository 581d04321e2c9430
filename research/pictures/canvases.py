"""Pictures that are no photographs of paper: drawing programs, small images, MNIST's own format."""

import cv2
import numpy as np
from PIL import Image

from research.pictures.strokes import Draw
from research.pictures.surfaces import Picture, apply_ink, compress_jpeg, place_on_canvas


def screen(draw: Draw, rng: np.random.Generator) -> Picture:
    """A drawing program's canvas: pure colours, sharp or smooth edges."""
    side = int(np.exp(rng.uniform(np.log(60), np.log(1000))))
    shape = (side, side if rng.random() < 0.7 else int(side * rng.uniform(0.6, 1.6)))
    cover = place_on_canvas(draw(rng.uniform(0.02, 0.16)), shape, (0.3, 0.95), rng)
    if rng.random() < 0.4:
        cover = (cover > 0.5).astype(np.float32)
    pairs = [((255, 255, 255), (0, 0, 0)), ((0, 0, 0), (255, 255, 255))]
    pairs += [((255, 255, 255), (230, 20, 20)), ((255, 255, 255), (30, 60, 220))]
    pairs += [((20, 20, 60), (250, 230, 40)), ((250, 240, 170), (20, 130, 40))]
    back, fore = pairs[rng.choice(6, p=[0.4, 0.32, 0.07, 0.07, 0.07, 0.07])]
    surface = np.broadcast_to(np.array(back, np.float32), (*shape, 3))
    colours = apply_ink(surface, cover, np.array(fore, np.float32)).round().astype(np.uint8)
    picture = Image.fromarray(colours)
    if rng.random() < 0.2:
        return picture.convert("P", palette=Image.Palette.ADAPTIVE)
    return picture if rng.random() < 0.6 else compress_jpeg(picture, rng)


def thin_screen(draw: Draw, rng: np.random.Generator) -> Picture:
    """Lines of one or two pixels on a large canvas."""
    side = int(rng.uniform(150, 700))
    high = rng.uniform(0.3, 0.9)
    mask = draw(rng.uniform(1, 2) / (high * side))
    cover = place_on_canvas(mask, (side, side), (high, high), rng)
    field = (255 * (cover < 0.3)).astype(np.uint8)
    return Image.fromarray(field if rng.random() < 0.7 else 255 - field)


def transparent(draw: Draw, rng: np.random.Generator) -> Picture:
    """Ink with nothing behind it."""
    side = int(rng.uniform(40, 600))
    cover = place_on_canvas(draw(rng.uniform(0.03, 0.14)), (side, side), (0.4, 0.95), rng)
    picture = np.zeros((side, side, 4), np.uint8)
    picture[..., :3] = rng.choice([0, 0, 255])
    picture[..., 3] = cover * 255
    return Image.fromarray(picture)


def tiny(draw: Draw, rng: np.random.Generator) -> Picture:
    """8 to 32 pixels on a side, either polarity, anywhere."""
    side = int(rng.integers(10, 33))
    cover = place_on_canvas(draw(rng.uniform(0.08, 0.16)), (side, side), (0.6, 0.98), rng)
    field = (cover * rng.uniform(0.7, 1) * 255).clip(0, 255).astype(np.uint8)
    return Image.fromarray(field if rng.random() < 0.5 else 255 - field)


def paint28(draw: Draw, rng: np.random.Generator) -> Picture:
    """28×28, drawn there with a brush of one to three whole pixels without grey edges."""
    cover = place_on_canvas(draw(rng.uniform(0.06, 0.16)), (28, 28), (0.5, 0.95), rng)
    field = ((cover > rng.uniform(0.25, 0.45)) * 255).astype(np.uint8)
    return Image.fromarray(field if rng.random() < 0.5 else 255 - field)


def tight16(draw: Draw, rng: np.random.Generator) -> Picture:
    """16×16 greys from border to border, as the USPS's are."""
    mask = draw(rng.uniform(0.08, 0.15))
    wide = int(np.clip(round(16 * mask.shape[1] / mask.shape[0]), 3, 16))
    small = cv2.resize(mask, (wide, 16), interpolation=cv2.INTER_AREA)
    field = np.zeros((16, 16), np.uint8)
    left = (16 - wide) // 2
    field[:, left : left + wide] = small
    return Image.fromarray(field if rng.random() < 0.7 else 255 - field)


def as_mnist(draw: Draw, rng: np.random.Generator) -> Picture:
    """28×28 in MNIST's form, either polarity."""
    mask = draw(rng.uniform(0.1, 0.16))
    scale = 20 / max(mask.shape)
    size = [max(1, round(side * scale)) for side in mask.shape[::-1]]
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    y, x = (
        np.arange(n) @ small.sum(axis) / small.sum() for n, axis in ((size[1], 1), (size[0], 0))
    )
    field = np.zeros((28, 28), np.uint8)
    top, left = (int(np.clip(round(14 - c), 0, 28 - n)) for c, n in ((y, size[1]), (x, size[0])))
    field[top : top + size[1], left : left + size[0]] = small
    return Image.fromarray(field if rng.random() < 0.6 else 255 - field)


def enlarged_mnist(draw: Draw, rng: np.random.Generator) -> Picture:
    """A picture of MNIST's form, saved larger: in squares or smoothly, some as JPEG."""
    side = int(rng.uniform(40, 600))
    way = rng.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
    picture = as_mnist(draw, rng).resize((side, side), Image.Resampling(way))
    return picture if rng.random() < 0.5 else compress_jpeg(picture, rng)
