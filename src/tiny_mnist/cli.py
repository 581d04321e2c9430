"""The tiny-mnist command: what can be done with a finished run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tiny_mnist.errors import UserError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Use what `python train.py` trained."""


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/2026-…")],
    root: Annotated[
        Path | None,
        typer.Option(exists=True, help="Folder of the four MNIST files; default: as in training."),
    ] = None,
) -> None:
    """Read the 10,000 test images with a trained network; no configuration is needed."""
    # Here, not above: torch takes seconds to load, and --help does not need it.
    from tiny_mnist.data import source
    from tiny_mnist.evaluation import predict, score
    from tiny_mnist.run import RunFolder

    with one_line_errors():
        network = RunFolder(run).load_network()
        mnist = source.load(root or source.default_root())
    loss, accuracy = score(predict(network, mnist.test_images), mnist.test_labels)
    typer.echo(f"{accuracy:.2f} % of the 10,000 test images read right, loss {loss:.6f}")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of such.")],
) -> None:
    """Compare finished runs: mean ± standard deviation over seeds for each set of settings."""
    from rich.console import Console

    from tiny_mnist.compare import comparison, find_runs

    with one_line_errors():
        runs = find_runs(folders)
    Console(highlight=False).print(comparison(runs))


@app.command()
def predict(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Files, folders, patterns; - for standard input."),
    ],
    run: Annotated[
        Path | None, typer.Option(help="Use the network of this run, not the one shipped.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array, one object a file.")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option(help="Save a picture of what the network saw beside each original."),
    ] = None,
) -> None:
    """Read the handwritten digit in each picture: photo, scan or drawing.

    The exit status is 1 if any file could not be read as a picture.
    """
    from tiny_mnist.answers import report
    from tiny_mnist.reading import network_of, pretrained_network

    with one_line_errors():
        report(pictures, network_of(run) if run else pretrained_network(), as_json, show)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line where the user can mend what is wrong."""
    try:
        yield
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
