"""Shapes of digits from outside MNIST, and of its training images: ink masks for scenes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from research.pictures.strokes import HEIGHT, Mask, crop_to_ink, strokes
from tiny_mnist.data import download
from tiny_mnist.errors import UserError

Shape = Callable[[int, float, np.random.Generator], Mask]
"""From a digit and a pen's width, as a part of the digit's height, to one way to write it."""

TEST_IMAGES = slice(50_000, 60_000)
"""Of MNIST's training images. The shipped network was trained on all 60,000, these included. The
verifier and the row reader were trained on others; scores and costs were fitted to these."""


def grey_images(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Shape:
    """Small grey images drawn large and smooth, the stroke as it is."""

    def shape(digit: int, width: float, rng: np.random.Generator) -> Mask:
        image = images[rng.choice(np.flatnonzero(labels == digit))]
        return enlarge(image)

    return shape


def fonts(paths: list[Path]) -> Shape:
    """Digits of fonts."""
    glyph = glyphs(paths)
    return lambda digit, width, rng: glyph(str(digit), rng)


def glyphs(paths: list[Path]) -> Callable[[str, np.random.Generator], Mask]:
    """Characters of fonts, each of a font that has it."""

    def shape(character: str, rng: np.random.Generator) -> Mask:
        while True:
            mask, _ = draw_character(paths[rng.integers(len(paths))], character)
            if mask.any():
                return mask

    return shape


def draw_character(path: Path, character: str) -> tuple[Mask, int]:
    """A character of a font, and the image row below its ink; an empty mask if it has none."""
    font = ImageFont.truetype(str(path), HEIGHT)
    picture = Image.new("L", (3 * HEIGHT, 3 * HEIGHT))
    ImageDraw.Draw(picture).text((HEIGHT, HEIGHT // 2), character, fill=255, font=font)
    drawn = np.asarray(picture)
    rows = np.flatnonzero(drawn.max(1))
    return (crop_to_ink(drawn), int(rows[-1]) + 1) if len(rows) else (drawn, 0)


def font_files(folder: Path) -> list[Path]:
    """Fonts that have digits, below a folder.

    Raises:
        UserError: there is none.
    """
    paths = (p for p in sorted(folder.rglob("*")) if p.suffix in (".woff", ".ttf", ".otf"))
    found = [path for path in paths if has_digits(path)]
    if not found:
        raise UserError(f"there is no font (.woff, .ttf or .otf) with ten digits below {folder}")
    return found


def has_digits(path: Path) -> bool:
    """Whether a font draws ten different shapes for the ten digits."""
    font = ImageFont.truetype(str(path), 40)
    return len({bytes(font.getmask(character)) for character in "0123456789"}) == 10


def real_8x8() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Real digits of 13 people, 1,797 images of 8×8 pixels, and their labels (UCI's optdigits)."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    return (values.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8), labels


def enlarge(image: NDArray[np.uint8]) -> Mask:
    """A small grey image drawn large, with smooth sharp edges where it was half grey."""
    image = crop_to_ink(np.pad(image, 2))
    scale = HEIGHT / max(image.shape)
    large = cv2.resize(np.pad(image, 2), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), scale / 3)
    peak = float(large.max())
    edges = (large.astype(np.float32) / peak - 0.45) * 8 + 0.5
    return crop_to_ink((edges.clip(0, 1) * 255).astype(np.uint8))


def load_shapes(font_folder: Path | None, mnist_images: slice = TEST_IMAGES) -> dict[str, Shape]:
    """Every source of shapes that there is here, by name.

    Args:
        font_folder: a folder of handwriting fonts, or None.
        mnist_images: which of MNIST's 60,000 training images are used.

    Raises:
        UserError: there is no font in the folder, or MNIST cannot be had.
    """
    mnist: Any = download.load_dataset(download.default_root())
    images = mnist.train_images[mnist_images].numpy()
    labels = mnist.train_labels[mnist_images].numpy()
    found: dict[str, Shape] = {"strokes": strokes, "MNIST": grey_images(images, labels)}
    if font_folder is not None:
        found["fonts"] = fonts(font_files(font_folder))
    return found
