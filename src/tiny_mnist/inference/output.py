"""What `tiny-mnist predict` prints and saves."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from tiny_mnist.errors import UserError, printable
from tiny_mnist.inference.image_io import (
    find_pictures,
    read_picture,
    read_standard_input,
)
from tiny_mnist.inference.predictor import ImagePrediction, Network, Source, predict_images
from tiny_mnist.system.atomic_files import atomic_write, check_can_write
from tiny_mnist.system.terminal import make_console

CELL_SIDE = 140  # pixels: side of each picture on the contact sheet of --show
MAX_COLUMNS = 4  # cells beside each other on the contact sheet
MAX_CONTACT_SHEET_PIXELS = 50_000_000
MAX_CONTACT_SHEET_SIDE = 16_000  # pixels: a side that every format can save
MAX_DIGITS = 12  # digits of one picture that the contact sheet shows


def report(names: list[str], network: Network, as_json: bool, show: Path | None) -> None:
    """Read all pictures, print the predictions, save the contact sheet.

    Raises:
        UserError: there is no picture, or the contact sheet cannot be written.
        typer.Exit: with status 1, when a file could not be read.
    """
    if show is not None:
        check_contact_sheet(show)
    found = [name for given in names for name in expand_argument(given)]
    if show is not None and any(name != "-" and is_same_file(name, show) for name in found):
        raise UserError(f"--show {show} would replace one of the pictures; choose another name")
    sources = [make_source(name) for name in found]
    if not sources:
        raise UserError(f"there is no picture in {', '.join(names)}")
    console = Console(stderr=True)
    predictions: list[ImagePrediction] = []
    cells: list[Image.Image] = []
    is_full = False
    for prediction in track(
        predict_images(sources, network, keep_pictures=show is not None),
        description="Reading",
        total=len(sources),
        console=console,
        transient=True,
        disable=len(sources) < 10 or not console.is_terminal,
    ):
        if prediction.picture is not None and not is_full:
            cell = draw_cell(prediction)
            is_full = not fits_contact_sheet([*cells, cell])
            if not is_full:
                cells.append(cell)
        # Thousands of photographs would fill the memory.
        predictions.append(prediction._replace(picture=None))
    failed = [prediction for prediction in predictions if prediction.error]
    if as_json:
        typer.echo(json.dumps([prediction.as_json() for prediction in predictions], indent=2))
    elif len(failed) < len(predictions):
        make_console().print(make_table([p for p in predictions if not p.error]))
    for prediction in failed:
        typer.echo(f"error: {printable(prediction.error)}", err=True)
    if show is not None and cells:
        save_contact_sheet(cells, show)
    if is_full:
        typer.echo(f"{printable(show)} shows {len(cells)} pictures; more do not fit", err=True)
    if failed:
        raise typer.Exit(1)


def expand_argument(given: str) -> list[str]:
    """The files that an argument means."""
    return ["-"] if given == "-" else [str(path) for path in find_pictures([given])]


def is_same_file(name: str, other: Path) -> bool:
    """Whether two names lead to one file, which exists."""
    try:
        return other.samefile(name)
    except OSError:
        return False


def make_source(name: str) -> Source:
    """How to get the picture of that name; - is standard input."""
    return name, read_standard_input if name == "-" else partial(read_picture, Path(name))


def make_table(predictions: list[ImagePrediction]) -> Table:
    """File, text, confidence and a remark."""
    result = Table()
    result.add_column("file", overflow="fold")
    result.add_column("text", overflow="fold")
    result.add_column("confidence", no_wrap=True)
    result.add_column("second guess", overflow="fold")
    for prediction in predictions:
        text = prediction.text.replace("\n", " / ") or "–"
        confidence = f"{prediction.confidence:.1%}" if prediction.digits else ""
        result.add_row(Text(printable(prediction.name)), text, confidence, describe(prediction))
    return result


def describe(prediction: ImagePrediction) -> str:
    """The second guess for one digit, else what was found, in words."""
    if not prediction.digits:
        return "no digit found"
    if len(prediction.digits) == 1:
        _, second, *_ = prediction.digits[0].ranking
        words = f"{second} ({prediction.digits[0].probabilities[second]:.1%})"
    else:
        words = f"{len(prediction.digits)} digits"
    return f"{words}; unsure" if prediction.status == "unsure" else words


def draw_cell(prediction: ImagePrediction) -> Image.Image:
    """The picture with the boxes found, what the network saw, and the prediction."""
    picture = prediction.picture
    assert picture is not None
    scale = CELL_SIDE / max(picture.pixels.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.pixels.shape[1::-1]]
    small = cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA)
    shown = prediction.digits[:MAX_DIGITS]
    result = Image.new("RGB", (CELL_SIDE * (1 + max(1, len(shown))) + 12, CELL_SIDE + 28), "white")
    draw = ImageDraw.Draw(result)
    result.paste(Image.fromarray(np.asarray(small, np.uint8)), (4, 4))
    for place, digit in enumerate(shown):
        edges = (round(edge * scale / picture.scale) + 4 for edge in digit.box)
        draw.rectangle(tuple(edges), outline=(230, 0, 120))
        large = Image.fromarray(digit.image).resize(
            (CELL_SIDE, CELL_SIDE), Image.Resampling.NEAREST
        )
        result.paste(large, (CELL_SIDE * (1 + place) + 8, 4))
        text = f"{digit.digit}  {digit.confidence:.1%}"
        draw.text((CELL_SIDE * (1 + place) + 10, CELL_SIDE + 8), text, fill="black", font_size=14)
    caption = prediction.text.replace("\n", " / ") + ("?" if prediction.status == "unsure" else "")
    draw.text((4, CELL_SIDE + 8), caption[:18] or "no digit found", fill="black", font_size=14)
    return result


def contact_sheet_size(cells: list[Image.Image]) -> tuple[int, int]:
    """Width and height of the contact sheet of these cells."""
    rows = -(-len(cells) // MAX_COLUMNS)
    return min(MAX_COLUMNS, len(cells)) * max(cell.width for cell in cells), rows * (CELL_SIDE + 28)


def fits_contact_sheet(cells: list[Image.Image]) -> bool:
    """Whether these cells fit on one contact sheet."""
    width, height = contact_sheet_size(cells)
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
    columns = min(MAX_COLUMNS, len(cells))
    contact_sheet = Image.new("RGB", contact_sheet_size(cells), "white")
    width = contact_sheet.width // columns
    for place, one in enumerate(cells):
        contact_sheet.paste(one, (place % columns * width, place // columns * (CELL_SIDE + 28)))
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
