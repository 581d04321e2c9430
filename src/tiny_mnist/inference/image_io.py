"""Picture files of every kind as RGB pixels, in bounded memory."""

import glob
import io
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, UnidentifiedImageError

from tiny_mnist.errors import UserError, one_line

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"])
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000  # pixels of a picture (8000×8000 has 64 million); more may be a bomb
MAX_BYTES = 500_000_000  # size of a file: 100 million pixels uncompressed, with some room
USED_SIDE = 1600  # pixels: least longer side to which larger pictures are reduced
STRIP_PIXELS = 2_000_000  # pixels of a strip, which is converted at once
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

RGBImage = UInt8[ndarray, "height width 3"]


class LoadedImage(NamedTuple):
    """A picture in memory, perhaps reduced."""

    pixels: RGBImage
    scale: float = 1.0
    """Side of one of these pixels, in pixels of the file."""


class PixelBudget:
    """Lets threads decode at the same time as long as their pictures are small together.

    Args:
        pixels: number of pixels that all threads may decode at the same time; a larger picture is
            decoded alone.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = self.free = pixels
        self.changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until so many pixels are free, and keep them during the block."""
        wanted = min(pixels, self.pixels)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= wanted)
            self.free -= wanted
        try:
            yield
        finally:
            with self.changed:
                self.free += wanted
                self.changed.notify_all()


DECODING = PixelBudget(MAX_PIXELS)


def enlarge_pillow_blocks() -> None:
    """Let Pillow allocate its pictures in blocks that are returned to the system when freed.

    Those are blocks above glibc's largest threshold for mmap. Blocks of Pillow's 16 MiB stay with
    each thread that has decoded a large picture: five pictures of 100 million pixels took 1.9 GB
    instead of 0.9 GB. The size is a setting of the whole process.
    """
    Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]


def find_pictures(names: list[str]) -> Iterator[Path]:
    """The files that are meant: folders and patterns become the pictures in them, sorted.

    A name that matches nothing or cannot be looked up is returned as it is; reading it gives the
    error message.
    """
    for name in names:
        path = Path(name)
        try:
            if path.is_dir():
                found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            elif path.exists() or not set("*?[") & set(name):
                found = [path]
            else:
                matches = glob.glob(name, recursive=True)  # noqa: PTH207 (refuses a**.png)
                found = sorted(map(Path, matches)) or [path]
        except (OSError, ValueError):  # no permission, too long a name, a null byte
            found = [path]
        yield from found


def read_picture(path: Path) -> LoadedImage:
    """Read a picture file.

    Raises:
        UserError: absent, not a regular file, empty, not a picture, damaged or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES // 1_000_000} MB")
        with path.open("rb") as file:
            return decode_file(file, status.st_size, str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null byte in the name
        raise UserError(f"{path} cannot be read: {error}") from error


def read_standard_input() -> LoadedImage:
    """Read a picture from standard input.

    Raises:
        UserError: closed, empty, not a picture, damaged or too large.
    """
    if sys.stdin is None:
        raise UserError("standard input is closed")
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"standard input has more than {MAX_BYTES // 1_000_000} MB")
    return decode(content, "standard input")


def decode(content: bytes, name: str) -> LoadedImage:
    """Decode a picture file's bytes.

    Args:
        content: the bytes of a file.
        name: the name of the picture, for messages.

    Raises:
        UserError: empty, not a picture, damaged or too large.
    """
    return decode_file(io.BytesIO(content), len(content), name)


def decode_file(file: io.BufferedIOBase, size: int, name: str) -> LoadedImage:
    """Decode an open file of this many bytes: upright, without transparency, 8 bits a channel."""
    if not size:
        raise UserError(f"{name} is empty")
    with (
        convert_pillow_errors(name),
        Image.open(file, formats=FORMATS) as picture,  # type: ignore[arg-type]
    ):
        return load_pillow(picture, name)


@contextmanager
def convert_pillow_errors(name: str) -> Iterator[None]:
    """Context manager that turns whatever Pillow raises for a bad picture into `UserError`."""
    try:
        yield
    except UnidentifiedImageError:
        raise UserError(f"{name} is not a picture (PNG, JPEG, BMP, GIF, TIFF or WebP)") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name} has too many pixels to be read") from None
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{name} does not fit in memory") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        reason = one_line(error)[:100]
        raise UserError(f"{name} is a damaged picture: {reason}") from error


def check_size(picture: Image.Image, name: str) -> None:
    """Check that a picture is not too large to be read.

    Raises:
        UserError: it has too many pixels.
    """
    if picture.width * picture.height > MAX_PIXELS:
        raise UserError(
            f"{name} has {picture.width}×{picture.height} pixels; "
            f"at most {MAX_PIXELS // 1_000_000} million are read"
        )


def load_pillow(picture: Image.Image, name: str) -> LoadedImage:
    """Decode an opened picture, as small as it is used.

    Raises:
        UserError: it has too many pixels.
    """
    check_size(picture, name)
    longer = max(picture.size)
    factor = max(1, longer // USED_SIDE)
    picture.draft(picture.mode, (picture.width // factor, picture.height // factor))  # JPEG only
    with DECODING.take(picture.width * picture.height):
        picture.load()
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
        small = reduce(picture, max(1, max(picture.size) // USED_SIDE))
        if small is not picture:
            picture.close()  # frees its pixels before another thread takes the budget
    if turn is not None:
        small = small.transpose(turn)
    return LoadedImage(to_rgb(small), longer / max(small.size))


def reduce(picture: Image.Image, factor: int) -> Image.Image:
    """A picture whose pixels are means over factor × factor, in strips that save memory."""
    if factor == 1:
        return picture
    rows = max(1, STRIP_PIXELS // (picture.width * factor)) * factor
    strips = []
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        if strip.mode.startswith(("I", "F")):
            strips.append(strip.convert("F").reduce(factor))
        elif picture.has_transparency_data:
            strip.info = picture.info  # a palette's transparent colour
            weighted = strip.convert("RGBA").convert("RGBa").reduce(factor)
            strips.append(weighted.convert("RGBA"))
        else:
            strips.append(strip.convert("RGB").reduce(factor))
    result = Image.new(strips[0].mode, (strips[0].width, sum(s.height for s in strips)))
    top = 0
    for strip in strips:
        result.paste(strip, (0, top))
        top += strip.height
    return result


def to_rgb(picture: Image.Image) -> RGBImage:
    """A Pillow image of any mode as eight-bit RGB."""
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits, of which often only some are used
        deep = np.nan_to_num(np.asarray(picture, np.float64))
        low, high = float(deep.min()), float(deep.max())
        grey = ((deep - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return flatten(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB"))


def flatten(picture: UInt8[ndarray, "height width 4"]) -> RGBImage:
    """The picture without transparency, on white or on black.

    What is visible counts as ink if at least a tenth of the picture is transparent: dark ink is
    laid on white, light ink on black. Otherwise the visible part has a background of its own, and
    the transparent rim is filled to match: white in a light picture, black in a dark one.
    """
    alpha = picture[..., 3:] / np.float32(255)
    colours = picture[..., :3] * alpha
    shown = float(colours.mean()) / max(float(alpha.mean()), 1e-6)
    behind = 255 if shown < 128 else 0
    if alpha.mean() > 0.9:
        behind = 255 if shown >= 128 else 0
    return np.asarray((colours + behind * (1 - alpha)).round(), np.uint8)
