"""The tiny-mnist command: evaluate, export, compare and use trained networks."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tiny_mnist.errors import UserError, format_error, printable
from tiny_mnist.extras import require
from tiny_mnist.system.terminal import make_console, use_lenient_streams


class Commands(TyperGroup):
    """The group of all commands, which prints every user error as one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; works with streams of any encoding."""
        use_lenient_streams()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run one command.

        Raises:
            typer.Exit: with status 1, after a user error was printed.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # of `tiny-mnist … | head`; click ends the program silently
            raise
        except Exception as error:
            message = format_error(error)
            if message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)

RunArgument = Annotated[
    Path,
    typer.Argument(help="A run folder, such as runs/2026-…, or latest."),
]
RunOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="A run folder or latest; default: the shipped network."),
]


def find_own_modules(trust: bool) -> bool:
    """Let a trusted run name the modules of the current folder, as `train.py` does."""
    if trust:
        sys.path.append(str(Path.cwd()))
    return trust


TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=find_own_modules,
        help="Allow classes other than this package's listed ones, torch.optim's, and Lightning's "
        "Trainer, callbacks and loggers; their code is run.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(exists=True, help="Folder of the images; default: as in training."),
]


def print_version(wanted: bool) -> bool:
    """Print the version and end the program, if wanted."""
    if wanted:
        typer.echo(f"tiny-mnist {version('tiny-mnist')}")
        raise typer.Exit
    return False


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Evaluate, export, compare and use the networks that `python train.py` trained."""


# The commands import torch, which takes seconds, only after they have checked their arguments.


@app.command()
def evaluate(
    run: RunArgument,
    root: RootOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: RUN/evaluation.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Measure a trained network on the test images, clean and corrupted.

    Writes report.html for people and evaluation.json for programs.
    """
    from tiny_mnist.runs.folder import resolve_trained_run
    from tiny_mnist.system.atomic_files import check_can_write
    from tiny_mnist.system.plain_files import check_not_link

    folder = resolve_trained_run(run)
    if out is None:  # the run may come from a stranger
        out = folder.path / "evaluation"
        check_not_link(out, folder=True)
    check_can_write(out / "evaluation.json")

    from tiny_mnist.evaluation import report
    from tiny_mnist.evaluation.metrics import PASSES, evaluate
    from tiny_mnist.runs.images import load_images
    from tiny_mnist.runs.metadata import collect_provenance
    from tiny_mnist.runs.network import load_network
    from tiny_mnist.system.memory import tune_malloc

    tune_malloc()
    network = load_network(folder, trust)
    images = load_images(folder, root, trust)
    origin = collect_provenance(folder, network) | images.info.metadata
    with progress(PASSES) as on_pass:
        evaluation = evaluate(network, images.test_images, images.test_labels, images.info, on_pass)
    files = report.EvaluationFiles(out)
    files.write(evaluation, images.test_images, origin)
    typer.echo("\n".join([*report.format_summary(evaluation), ""]))
    make_console().print(report.corruption_table(evaluation))
    typer.echo(f"\nReport: {printable(files.page)}\nNumbers: {printable(files.numbers)}")


class Format(str, Enum):
    """Format of an exported file."""

    onnx = "onnx"
    safetensors = "safetensors"
    html = "html"
    c = "c"


@app.command()
def export(
    run: RunArgument,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="onnx: the network; safetensors: its weights; html: a page to draw on; "
            "c: integer C99 for microcontrollers.",
        ),
    ] = Format.onnx,
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX of eight bits, calibrated on training images.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The file; default: RUN/tiny-mnist[-int8].FORMAT.")
    ] = None,
    root: RootOption = None,
    trust: TrustOption = False,
) -> None:
    """Write a trained network as one file for other programs, checked on the test images.

    ONNX files take raw images, uint8 of shape (batch, 28, 28), light digits on a dark ground, and
    give log-probabilities.
    """
    from tiny_mnist.runs.folder import resolve_trained_run
    from tiny_mnist.system.atomic_files import check_can_write

    if int8 and file_format is not Format.onnx:
        raise typer.BadParameter("is for --format onnx only", param_hint="--int8")
    folder = resolve_trained_run(run)

    from tiny_mnist.export.export import FORMATS
    from tiny_mnist.export.export import export as write
    from tiny_mnist.runs.images import load_images
    from tiny_mnist.runs.metadata import collect_provenance
    from tiny_mnist.runs.network import load_network

    chosen = FORMATS["onnx-int8" if int8 else file_format.value]
    path = out or folder.path / chosen.file_name
    suffix = Path(chosen.file_name).suffix
    if path.suffix != suffix:  # it may be a checkpoint, or another file that is to be kept
        raise UserError(f"--out {path} should end in {suffix}")
    check_can_write(path)
    network = load_network(folder, trust)
    images = load_images(folder, root, trust)
    origin = collect_provenance(folder, network) | images.info.metadata
    result = write(network, path, images, origin, chosen)
    typer.echo(f"{printable(path)}: {path.stat().st_size:,} bytes")
    typer.echo("\n".join(result.describe()))


@app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER…", help="Run folders, folders of such, or latest."),
    ],
) -> None:
    """Rank finished runs, grouped over seeds, and test which differences are significant."""
    from tiny_mnist.comparison.grouping import find_runs
    from tiny_mnist.comparison.ranking import Ranking
    from tiny_mnist.runs.folder import LATEST, resolve_run

    ranking = Ranking(
        find_runs([resolve_run(each).path if str(each) == LATEST else each for each in folders])
    )
    console = make_console()
    console.print(ranking.table(console.width))
    console.print(*ranking.notes(), sep="\n", soft_wrap=True, markup=False)


@app.command()
def predict(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Files, folders, patterns; - for standard input."),
    ],
    run: RunOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array, one object a file.")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option(help="Save each picture beside the image that the network was given."),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Read the handwritten digits in pictures: photos, scans or drawings.

    The exit status is 1 if any file could not be read as a picture.
    """
    from tiny_mnist.runs.folder import resolve_trained_run

    require("predict", "tiny-mnist predict")
    folder = resolve_trained_run(run) if run else None

    from tiny_mnist.inference.output import report
    from tiny_mnist.inference.predictor import pretrained_network, run_network

    network = run_network(folder.path, trust) if folder else pretrained_network()
    report(pictures, network, as_json, show)


@app.command()
def demo(
    run: RunOption = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 lets other machines in, by the IP address or the "
            "name of this machine. The page has no password."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: the first free one from 7860 on.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Draw digits on a page in the browser, and see the network's activations."""
    from tiny_mnist.runs.folder import resolve_trained_run

    require("demo", "tiny-mnist demo")
    folder = resolve_trained_run(run).path if run else None

    from tiny_mnist.demo.app import serve

    def announce(address: str) -> None:
        typer.echo(f"Open {address} in a browser; Ctrl+C ends it.")

    serve(folder, host, port, announce, trust)


@contextmanager
def progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on a terminal, nothing when piped.

    Yields:
        A function to call with the name of each step before it begins.
    """
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
