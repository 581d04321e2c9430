"""Paper, light, ink and cameras: what pictures of digits are made of."""

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from research.pictures.strokes import Mask

Grey = NDArray[np.float32]
Picture = Image.Image


def ink(mask: Mask, canvas: tuple[int, int], height: float, centre: tuple[float, float]) -> Grey:
    """How much of each pixel the ink covers (0–1): the shape, this high, about a centre (x, y)."""
    scale = height / max(mask.shape)
    size = [max(1, round(side * scale)) for side in mask.shape[::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(mask, size, interpolation=interpolation).astype(np.float32) / 255
    motion = np.array(
        [[1, 0, centre[0] - size[0] / 2], [0, 1, centre[1] - size[1] / 2]], np.float32
    )
    moved = cv2.warpAffine(small, motion, canvas[::-1], flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def place_on_canvas(
    mask: Mask, canvas: tuple[int, int], part: tuple[float, float], rng: np.random.Generator
) -> Grey:
    """The shape anywhere on the canvas, its height this part of the shorter side."""
    height = rng.uniform(*part) * min(canvas)
    scale = height / max(mask.shape)
    room = [max(0.0, side - scale * m - 2) for side, m in zip(canvas, mask.shape, strict=True)]
    y, x = (scale * m / 2 + 1 + r * rng.beta(2, 2) for m, r in zip(mask.shape, room, strict=True))
    return ink(mask, canvas, height, (x, y))


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Grey:
    """Smooth noise of unit deviation with blobs of about `scale` pixels."""
    small = [max(2, round(side / scale)) for side in shape]
    field = rng.standard_normal(small).astype(np.float32)
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def paper(shape: tuple[int, int], rng: np.random.Generator) -> Grey:
    """Reflectance of paper: fibres and waves."""
    return np.asarray(1 + 0.008 * noise(shape, 2, rng) + 0.01 * noise(shape, 12, rng), np.float32)


def light(shape: tuple[int, int], rng: np.random.Generator, strong: float = 1) -> Grey:
    """Uneven light: a gradient, a vignette, and often the shadow of a hand or phone."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y / shape[0] - 0.5, x / shape[1] - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    field = 1 + strong * rng.uniform(0, 0.5) * (np.cos(angle) * x + np.sin(angle) * y)
    field *= 1 - strong * rng.uniform(0, 0.5) * (x**2 + y**2)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        edge = np.cos(angle) * x + np.sin(angle) * y - rng.uniform(-0.35, 0.35)
        edge = edge + 0.05 * noise(shape, max(shape) / 3, rng)
        soft = rng.uniform(0.005, 0.1)
        field *= 1 - strong * rng.uniform(0.15, 0.5) / (1 + np.exp(-np.clip(edge / soft, -50, 50)))
    return np.asarray(field, np.float32)


def hard_shadow(shape: tuple[int, int], rng: np.random.Generator) -> Grey:
    """Light, 1 or in a shadow 0.35 to 0.65, whose edge crosses the picture near its middle."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - width * rng.uniform(0.3, 0.7)) * np.cos(angle)
    across += (y - height * rng.uniform(0.35, 0.65)) * np.sin(angle)
    dark, soft = rng.uniform(0.35, 0.65), height * rng.choice([0.01, 0.05, 0.15])
    edge = 1 / (1 + np.exp(-np.clip(across / soft, -50, 50)))
    return np.asarray(dark + (1 - dark) * edge, np.float32)


def ruling(shape: tuple[int, int], rng: np.random.Generator, lines: str) -> Grey:
    """How much of each pixel the lines of squared, dark squared or ruled paper cover, turned."""
    step = min(shape) * rng.uniform(0.06, 0.22)
    thick = max(1.0, step * rng.uniform(0.02, 0.07))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = rng.normal(0, 0.06)
    covers = []
    for way in (y,) if lines == "ruled" else (y, x):
        other = x if way is y else -y
        across = way * np.cos(angle) + other * np.sin(angle) + rng.uniform(0, step)
        distance = np.abs((across + step / 2) % step - step / 2)
        covers.append(np.clip(thick / 2 + 0.5 - distance, 0, 1))
    return np.asarray(np.max(covers, axis=0), np.float32)


def photograph(
    reflectance: NDArray[np.float32], rng: np.random.Generator, strong: float = 1
) -> Picture:
    """A picture of a surface (rows × columns × RGB, 1 is white) by a phone's camera."""
    shape = reflectance.shape[:2]
    tint = np.array([1, rng.uniform(0.93, 1), rng.uniform(0.8, 1)], np.float32)
    field: Any = reflectance * light(shape, rng, strong)[..., None] * tint * rng.uniform(0.55, 0.95)
    size = np.array(shape[::-1], np.float32)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * size
    moved = corners + rng.normal(0, 0.025, (4, 2)).astype(np.float32) * min(shape)
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    field = cv2.warpPerspective(field, warp, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    field = cv2.GaussianBlur(field, (0, 0), rng.uniform(0.4, 0.4 + min(shape) / 400))
    field = field + rng.normal(0, rng.uniform(0.004, 0.03), field.shape)
    return compress_jpeg(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), rng)


def compress_jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """The picture after JPEG."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=int(rng.integers(35, 95)))
    return Image.open(file)


def apply_ink(surface: NDArray[np.float32], cover: Grey, colour: NDArray[np.float32]) -> Grey:
    """A surface (rows × columns × RGB) with ink on it."""
    return np.asarray(surface * (1 - cover[..., None]) + colour * cover[..., None], np.float32)


def ink_colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """Black, blue, red, green or violet ink."""
    inks = [
        (0.1, 0.1, 0.12),
        (0.12, 0.18, 0.5),
        (0.7, 0.12, 0.15),
        (0.1, 0.4, 0.2),
        (0.3, 0.1, 0.4),
    ]
    colour = inks[rng.choice(5, p=[0.4, 0.35, 0.1, 0.08, 0.07])]
    return np.array(colour, np.float32) * rng.uniform(0.7, 1.2)


def photo_size(rng: np.random.Generator) -> tuple[int, int]:
    """Rows and columns of a photograph, or of a part cut from one."""
    long = int(np.exp(rng.uniform(np.log(100), np.log(1600))))
    short = int(long * rng.uniform(0.6, 1))
    return (long, short) if rng.random() < 0.6 else (short, long)


def sheet(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """White or yellowish paper, rows × columns × RGB."""
    tone = np.array([1, rng.uniform(0.95, 1), rng.uniform(0.85, 1)], np.float32)
    return np.asarray(paper(shape, rng)[..., None] * tone, np.float32)


def draw_ruling(
    surface: NDArray[np.float32], rng: np.random.Generator, lines: str
) -> NDArray[np.float32]:
    """Paper with printed lines: pale blue, or dark; some ruled paper has a red margin."""
    shape = surface.shape[:2]
    colour = np.array([0.45, 0.6, 0.8], np.float32) * rng.uniform(0.7, 1.25)
    if lines == "dark squared":
        colour = np.full(3, rng.uniform(0.25, 0.5), np.float32)
    surface = apply_ink(surface, ruling(shape, rng, lines) * 0.7, colour)
    if lines == "ruled" and rng.random() < 0.4:
        x = int(shape[1] * rng.uniform(0.03, 0.15))
        surface[:, x : x + max(1, shape[1] // 250)] = (0.85, 0.4, 0.45)
    return surface


def wood(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A table with a grain, rows × columns × RGB."""
    tone = rng.uniform(0.12, 0.5) * np.array([1, rng.uniform(0.6, 1), rng.uniform(0.4, 1)])
    stretched = noise((shape[0], max(2, shape[1] // 12)), max(2, shape[0] / 60), rng)
    grain = cv2.resize(stretched, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(tone * (1 + 0.12 * grain[..., None]), np.float32)


def lay_on_table(paper_sheet: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A sheet that lies askew on a table, its corners in the picture or just outside."""
    shape = paper_sheet.shape[:2]
    size = np.array(shape[::-1], np.float32)
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    inset = rng.uniform(-0.06, 0.16, (4, 2)).astype(np.float32)
    corners = (unit + inset * (1 - 2 * unit)) * size
    warp = cv2.getPerspectiveTransform(unit * size, corners.astype(np.float32))
    cover = cv2.warpPerspective(np.ones(shape, np.float32), warp, shape[::-1])
    sheet_there = cv2.warpPerspective(paper_sheet, warp, shape[::-1])
    return np.asarray(sheet_there + wood(shape, rng) * (1 - cover[..., None]), np.float32)
