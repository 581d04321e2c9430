"""What `tiny-mnist predict` prints."""

import json
from functools import partial
from pathlib import Path

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from tiny_mnist.errors import UserError, printable
from tiny_mnist.inference.contact_sheet import (
    check_contact_sheet,
    draw_cell,
    fits_contact_sheet,
    save_contact_sheet,
)
from tiny_mnist.inference.image_io import find_pictures, read_picture, read_standard_input
from tiny_mnist.inference.predictor import ImagePrediction, Network, Source, predict_images
from tiny_mnist.system.terminal import make_console


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
