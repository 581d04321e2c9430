"""What `tiny-mnist predict` prints and saves."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tiny_mnist.errors import UserError
from tiny_mnist.inference.image_io import decode, expanded, read_picture
from tiny_mnist.inference.predictor import Answer, Network, Source, read
from tiny_mnist.system.atomic_files import atomic_write

CELL = 140  # pixels: the side of each picture on the sheet of --show
MOST_SHOWN = 1000


def report(names: list[str], network: Network, as_json: bool, show: Path | None) -> None:
    """Read all pictures, print the answers, save the sheet.

    Raises:
        UserError: there is no picture, or the sheet cannot be written.
        typer.Exit: with status 1, when a file could not be read.
    """
    sources = [source_of(name) for given in names for name in files_of(given)]
    if not sources:
        raise UserError(f"there is no picture in {', '.join(names)}")
    console = Console(stderr=True)
    answers: list[Answer] = []
    cells: list[Any] = []
    for answer in track(
        read(sources, network),
        description="Reading",
        total=len(sources),
        console=console,
        transient=True,
        disable=len(sources) < 10 or not console.is_terminal,
    ):
        if show is not None and answer.picture is not None and len(cells) < MOST_SHOWN:
            cells.append(cell(answer))
        answers.append(answer._replace(picture=None))  # thousands of photographs fill the memory
    if as_json:
        typer.echo(json.dumps([answer.as_json() for answer in answers], indent=2))
    else:
        Console(highlight=False).print(table([a for a in answers if not a.error]))
    for answer in answers:
        if answer.error:
            typer.echo(f"error: {answer.error}", err=True)
    if show is not None and cells:
        save_sheet(cells, show)
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


def files_of(given: str) -> list[str]:
    """The files that an argument means."""
    return ["-"] if given == "-" else [str(path) for path in expanded([given])]


def source_of(name: str) -> Source:
    """How to get the picture of that name; - is standard input."""
    if name == "-":
        return "-", lambda: decode(sys.stdin.buffer.read(), "standard input")
    return name, lambda: read_picture(Path(name))


def table(answers: list[Answer]) -> Table:
    """File, digit, confidence and second guess."""
    result = Table("file", "digit", "confidence", "second guess")
    for answer in answers:
        if len(answer.digits) == 1:
            plain = answer.digits[0].as_json()
            second = f"{plain['second']} ({plain['second_confidence']:.1%})"
            result.add_row(answer.name, str(plain["digit"]), f"{plain['confidence']:.1%}", second)
        else:
            result.add_row(answer.name, "–", said(answer))
    return result


def said(answer: Answer) -> str:
    """In words, what is there instead of one digit."""
    if not answer.digits:
        return "no digit found"
    found = ", ".join(f"{d.digit} at {d.box.left},{d.box.top}" for d in answer.digits)
    return f"{len(answer.digits)} digits: {found}"


def cell(answer: Answer) -> Image.Image:
    """The picture with the boxes found, what the network saw, and the answer."""
    assert answer.picture is not None
    scale = CELL / max(answer.picture.shape[:2])
    size = [max(1, round(side * scale)) for side in answer.picture.shape[1::-1]]
    small = cv2.resize(answer.picture, size, interpolation=cv2.INTER_AREA)
    saw = max(1, len(answer.digits))
    result = Image.new("RGB", (CELL * (1 + saw) + 12, CELL + 28), "white")
    draw = ImageDraw.Draw(result)
    result.paste(Image.fromarray(np.asarray(small, np.uint8)), (4, 4))
    for place, digit in enumerate(answer.digits):
        left, top, right, bottom = (round(edge * scale) + 4 for edge in digit.box)
        draw.rectangle((left, top, right, bottom), outline=(230, 0, 120))
        large = Image.fromarray(digit.image).resize((CELL, CELL), Image.Resampling.NEAREST)
        result.paste(large, (CELL * (1 + place) + 8, 4))
        text = f"{digit.digit}  {digit.probabilities[digit.digit]:.1%}"
        draw.text((CELL * (1 + place) + 10, CELL + 8), text, fill="black", font_size=14)
    name = Path(answer.name).name[-20:] if answer.digits else said(answer)
    draw.text((4, CELL + 8), name, fill="black", font_size=14)
    return result


def save_sheet(cells: list[Image.Image], path: Path) -> None:
    """All cells on one sheet.

    Raises:
        UserError: the file cannot be written, or its name is not that of a picture.
    """
    columns = min(4, len(cells))
    width, height = max(c.width for c in cells), CELL + 28
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for place, one in enumerate(cells):
        sheet.paste(one, (place % columns * width, place // columns * height))
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path} should end with .png, .jpg or the like")
    try:
        with atomic_write(path) as file:
            sheet.save(file, kind)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
