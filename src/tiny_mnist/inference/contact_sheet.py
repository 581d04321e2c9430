"""The contact sheet of `tiny-mnist predict --show`: pictures, and what the network saw of them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from tiny_mnist.errors import UserError
from tiny_mnist.inference.predictor import ImagePrediction
from tiny_mnist.system.atomic_files import atomic_write, check_can_write

CELL_SIDE = 140  # pixels: side of each picture
CELL_HEIGHT = CELL_SIDE + 44  # pixels: of a picture and two lines below it
MAX_NAME = 18  # characters of a picture's name that are shown, its last ones
MAX_TEXT = 10  # characters of its text that are shown
MAX_CONTACT_SHEET_PIXELS = 50_000_000
MAX_CONTACT_SHEET_SIDE = 16_000  # pixels: a side that every format can save
MAX_DIGITS = 12  # digits of one picture that are shown; cells beside each other are no wider


def draw_cell(prediction: ImagePrediction) -> Image.Image:
    """The picture with the boxes found, what the network saw, and the prediction.

    Below the picture is its text with the confidence that all of it is right, below each digit its
    own.
    """
    picture = prediction.picture
    assert picture is not None
    scale = CELL_SIDE / max(picture.pixels.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.pixels.shape[1::-1]]
    small = cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA)
    shown = prediction.digits[:MAX_DIGITS]
    result = Image.new("RGB", (cell_width(len(shown)), CELL_HEIGHT), "white")
    draw = ImageDraw.Draw(result)
    result.paste(Image.fromarray(np.asarray(small, np.uint8)), (4, 4))
    draw.rectangle((3, 3, size[0] + 4, size[1] + 4), outline=(200, 200, 200))
    for place, digit in enumerate(shown):
        edges = (round(edge * scale / picture.scale) + 4 for edge in digit.box)
        draw.rectangle(tuple(edges), outline=(230, 0, 120))
        large = Image.fromarray(digit.image).resize(
            (CELL_SIDE, CELL_SIDE), Image.Resampling.NEAREST
        )
        result.paste(large, (CELL_SIDE * (1 + place) + 8, 4))
        text = f"{digit.digit}  {digit.confidence:.1%}"
        draw.text((CELL_SIDE * (1 + place) + 10, CELL_SIDE + 8), text, fill="black", font_size=14)
    draw.text((4, CELL_SIDE + 8), format_caption(prediction), fill="black", font_size=14)
    name = Path(prediction.name).name[-MAX_NAME:]
    draw.text((4, CELL_SIDE + 26), name, fill=(100, 100, 100), font_size=12)
    return result


def cell_width(digits: int) -> int:
    """Width in pixels of a cell with so many digits."""
    return CELL_SIDE * (1 + max(1, digits)) + 12


def format_caption(prediction: ImagePrediction) -> str:
    """The text of a picture, with ? if it is unsure, and its confidence."""
    text = prediction.text.replace("\n", "/")
    if not text:
        return "no digit found"
    shown = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return f"{shown}{'?' if prediction.status == 'unsure' else ''}  {prediction.confidence:.1%}"


def arrange_cells(cells: list[Image.Image]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Left and top of each cell on a contact sheet, and the width and height of the sheet."""
    places, x, y, width = [], 0, 0, 0
    for cell in cells:
        if x and x + cell.width > cell_width(MAX_DIGITS):
            x, y = 0, y + CELL_HEIGHT
        places.append((x, y))
        x += cell.width
        width = max(width, x)
    return places, (width, y + CELL_HEIGHT)


def fits_contact_sheet(cells: list[Image.Image]) -> bool:
    """Whether these cells fit on one contact sheet."""
    _, (width, height) = arrange_cells(cells)
    return (
        max(width, height) <= MAX_CONTACT_SHEET_SIDE and width * height <= MAX_CONTACT_SHEET_PIXELS
    )


def check_contact_sheet(path: Path) -> None:
    """Check that a contact sheet can be saved, before time is spent on the pictures.

    Raises:
        UserError: the file cannot be written, or its name is not that of a picture.
    """
    with convert_write_errors(path):
        Image.new("RGB", (8, 8)).save(io.BytesIO(), file_kind(path))
        check_can_write(path)


def save_contact_sheet(cells: list[Image.Image], path: Path) -> None:
    """Save all cells on one contact sheet.

    Raises:
        UserError: the file cannot be written, or its name is not that of a picture.
    """
    places, size = arrange_cells(cells)
    contact_sheet = Image.new("RGB", size, "white")
    for cell, place in zip(cells, places, strict=True):
        contact_sheet.paste(cell, place)
    with convert_write_errors(path), atomic_write(path) as file:
        contact_sheet.save(file, file_kind(path))


def file_kind(path: Path) -> str:
    """Pillow's name of the format of a file.

    Raises:
        UserError: there is none, or Pillow does not write it.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise UserError(f"{path} should end with .png, .jpg or the like")
    return kind


@contextmanager
def convert_write_errors(path: Path) -> Iterator[None]:
    """Context manager that turns the errors of saving a picture into `UserError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be written: {reason}") from error
