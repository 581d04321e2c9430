"""Picture files of every kind as plain RGB pixels, or one line saying what is wrong."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from tiny_mnist.errors import UserError

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"])
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MOST_PIXELS = 100_000_000  # 8000×8000 is 64 million; more is taken for a decompression bomb

Pixels = UInt8[ndarray, "height width 3"]


def expanded(names: list[str]) -> Iterator[Path]:
    """The files that are meant: folders and patterns become the pictures in them, sorted.

    A name of nothing stays as it is, for the one line that will be said of it.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif path.exists() or not set("*?[") & set(name):
            yield path
        else:
            yield from sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) or [path]


def read_picture(path: Path) -> Pixels:
    """The pixels of a file.

    Raises:
        UserError: absent, empty, not a picture, damaged or too large.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return decode(content, str(path))


def decode(content: bytes, name: str) -> Pixels:
    """The pixels of a file's bytes: upright, without transparency, eight bits a channel.

    Raises:
        UserError: empty, not a picture, damaged or too large.
    """
    if not content:
        raise UserError(f"{name} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; sizes are checked here
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise UserError(
                        f"{name} has {picture.width}×{picture.height} pixels; "
                        f"at most {MOST_PIXELS // 1_000_000} million are read"
                    )
                picture.load()
                return rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise UserError(f"{name} is not a picture (PNG, JPEG, BMP, GIF, TIFF or WebP)") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name} has too many pixels to be read") from None
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(f"{name} is a damaged picture: {reason}") from error


def rgb(picture: Image.Image) -> Pixels:
    """Any of Pillow's modes as eight-bit RGB."""
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits, of which often only some are used
        deep = np.nan_to_num(np.asarray(picture, np.float64))
        low, high = float(deep.min()), float(deep.max())
        grey = ((deep - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return opaque(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB"))


def opaque(picture: UInt8[ndarray, "height width 4"]) -> Pixels:
    """The picture on white, or on black if what it shows is light."""
    alpha = picture[..., 3:] / np.float32(255)
    colours = picture[..., :3] * alpha
    shown = float(colours.mean()) / max(float(alpha.mean()), 1e-6)
    behind = 255 if shown < 128 else 0
    if alpha.mean() > 0.9:  # only a rim is transparent: what is drawn is the rest
        behind = 255 if shown >= 128 else 0
    return np.asarray((colours + behind * (1 - alpha)).round(), np.uint8)
