"""The tiny-mnist command: what can be done with a finished run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
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
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: RUN/evaluation.")
    ] = None,
) -> None:
    """Look closely at how a trained network reads the test images; no configuration is needed.

    Leaves report.html for people and evaluation.json for programs.
    """
    # Here, not above: torch takes seconds to load, and --help does not need it.
    from rich.console import Console

    from tiny_mnist.data import download
    from tiny_mnist.evaluation import report as evaluation_report
    from tiny_mnist.evaluation.metrics import PASSES, evaluate
    from tiny_mnist.runs import RunFolder, load_network, provenance
    from tiny_mnist.system.atomic_files import check_can_write
    from tiny_mnist.system.memory import tune_malloc

    tune_malloc()
    files = evaluation_report.EvaluationFiles(out or run / "evaluation")
    with one_line_errors():
        network = load_network(run)
        origin = provenance(RunFolder(run), network)
        check_can_write(files.numbers)
        mnist = download.load(root or download.default_root())
        with progress(PASSES) as advance:
            evaluation = evaluate(network, mnist.test_images, mnist.test_labels, advance)
        files.write(evaluation, mnist.test_images, origin)
    typer.echo("\n".join([*evaluation_report.closing_lines(evaluation), ""]))
    Console(highlight=False).print(evaluation_report.corruption_table(evaluation))
    typer.echo(f"\nReport: {files.page}\nNumbers: {files.numbers}")


class Format(str, Enum):
    """What an exported file is."""

    onnx = "onnx"
    safetensors = "safetensors"


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/2026-…")],
    file_format: Annotated[
        Format, typer.Option("--format", help="onnx: the network; safetensors: its weights.")
    ] = Format.onnx,
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX of eight bits, calibrated on training images.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The file; default: RUN/tiny-mnist[-int8].FORMAT.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(exists=True, help="Folder of the four MNIST files; default: as in training."),
    ] = None,
) -> None:
    """Write the network as one file for other programs, and check it on the test images.

    ONNX takes raw images, uint8 [batch, 28, 28], light on dark, and gives log-probabilities.
    """
    from tiny_mnist.data import download
    from tiny_mnist.export import export as exporter
    from tiny_mnist.runs import RunFolder, load_network, provenance
    from tiny_mnist.system.atomic_files import check_can_write

    if int8 and file_format is Format.safetensors:
        raise typer.BadParameter("is for --format onnx only", param_hint="--int8")
    path = out or run / f"tiny-mnist{'-int8' if int8 else ''}.{file_format.value}"
    with one_line_errors():
        network = load_network(run)
        origin = provenance(RunFolder(run), network)
        check_can_write(path)
        mnist = download.load(root or download.default_root())
        check = exporter.export(network, path, mnist, origin, file_format.value, int8)
    typer.echo(
        f"{path}: {path.stat().st_size:,} bytes\n"
        f"{check.accuracy:.2f} % of the test images read right, PyTorch {check.torch_accuracy:.2f} "
        f"%; {check.agreement:.2f} % read alike\n"
        f"Largest difference of a log-probability: {check.largest_difference:.2g}"
    )
    if check.agreement < 99.9:
        typer.echo(
            "warning: less than 99.9 % of the test images are read alike; measure whether that is "
            "enough before you use the file"
        )


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of such.")],
) -> None:
    """Rank finished runs, grouped over seeds, and say which differences are more than noise."""
    from rich.console import Console

    from tiny_mnist.sweeps.grouping import find_runs
    from tiny_mnist.sweeps.ranking import Ranking

    with one_line_errors():
        ranking = Ranking(find_runs(folders))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(ranking.table())
    console.print(*ranking.notes(), sep="\n", soft_wrap=True)


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
    from tiny_mnist.inference.output import report
    from tiny_mnist.inference.predictor import network_of, pretrained_network

    with one_line_errors():
        report(pictures, network_of(run) if run else pretrained_network(), as_json, show)


@app.command()
def demo(
    run: Annotated[
        Path | None, typer.Option(help="Use the network of this run, not the one shipped.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: the first free one from 7860 on.")
    ] = None,
) -> None:
    """Draw digits on a page in the browser, and see inside the network while it reads them."""
    with one_line_errors():
        from tiny_mnist.demo.app import serve

        serve(run, host, port, lambda at: typer.echo(f"Open {at} in a browser; Ctrl+C ends it."))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line where the user can mend what is wrong."""
    try:
        yield
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, nothing when piped; yields what to call, by name, before each step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=steps, completed=-1)

        def advance(name: str) -> None:
            bar.update(task, description=name, advance=1)

        yield advance
