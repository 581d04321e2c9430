"""Tables and plots of the measurements."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.contestant import Result
from benchmarks.suites import BATCHES, MODES

EPOCH = 60_000  # images
COLOURS = {
    "original": "tab:gray", "keras": "tab:orange", "program": "tab:blue", "floor": "tab:red",
}  # fmt: skip


def report_suite(record: dict[str, Any], out: Path, console: Console) -> None:
    """Print the result of a suite; save its plot, if it has one, in `out`."""
    rows = summarize(record["results"], record["labels"])
    rounds = record["rounds"]
    match record["suite"]:
        case "speed":
            console.print(speed_table(rows, rounds, record["steps"], record["original_steps"]))
            plot_speed(rows, out / "speed.png")
        case "levers":
            console.print(time_table(rows, "A training step of 128 images", 128_000, "ms", rounds))
        case "start":
            console.print(time_table(rows, "From command to prompt or step", 1, "s", rounds))
        case "scaling":
            console.print(time_table(rows, "An epoch", EPOCH, "s", rounds))
            plot_scaling(rows, out / "scaling.png")
        case "whole-run":
            console.print(*whole_run_lines(record["results"]), sep="\n", soft_wrap=True)
        case "short-runs":
            console.print(*short_run_lines(record["results"]), sep="\n", soft_wrap=True)


class ProgramSpeed(NamedTuple):
    """The measurements of one program over all rounds."""

    name: str
    label: str
    speeds: list[float]
    """Images a second, round by round."""
    ratios: dict[str, float]
    """Median over the rounds of its speed over that of another contestant, by the other's name."""
    memory_mb: float

    @property
    def speed(self) -> float:
        """Median images a second."""
        return median(self.speeds)


def summarize(results: dict[str, list[Result]], labels: dict[str, str]) -> list[ProgramSpeed]:
    """Each contestant's medians, in the order given."""
    speeds = {
        name: [result["images"] / result["seconds"] for result in rounds]
        for name, rounds in results.items()
    }
    rows = []
    for name, own in speeds.items():
        # A ratio within a round does not depend on what slowed down the whole round.
        ratios = {
            other: median(a / b for a, b in zip(own, theirs, strict=True))
            for other, theirs in speeds.items()
        }
        memory = median(result["memory_mb"] for result in results[name])
        rows.append(ProgramSpeed(name, labels[name], own, ratios, memory))
    return rows


def speed_table(rows: list[ProgramSpeed], rounds: int, steps: int, original_steps: int) -> Table:
    """The table of medians."""
    table = Table(
        title=f"Training on MNIST at batch 128, median of {rounds} rounds",
        caption=f"{steps} steps a round after a warm-up, {original_steps} of the original's way. "
        "×: median of the ratios within a round, to the original's way with 4 workers and to both "
        "bare loops.",
        box=SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("", no_wrap=True)
    for header in (
        "images/s", "s/epoch", "×\norig.", "× bare,\naugm.", "×\nbare", "of\nfloor", "peak\nMB",
    ):  # fmt: skip
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(*format_cells(row), style="bold" if row.name == "program" else None)
    return table


def format_cells(row: ProgramSpeed) -> Iterator[str]:
    """One line of the table."""
    yield row.label
    yield f"{row.speed:,.0f}"
    yield f"{EPOCH / row.speed:.1f}"
    for other, text in (
        ("original-4", "{:.2f}"), ("bare-augmented", "{:.3f}"), ("bare", "{:.3f}"),
        ("floor", "{:.1%}"),
    ):  # fmt: skip
        yield text.format(row.ratios[other]) if other in row.ratios else "–"
    yield "–" if row.name == "floor" else f"{row.memory_mb:,.0f}"


def time_table(rows: list[ProgramSpeed], what: str, amount: float, unit: str, rounds: int) -> Table:
    """Time for `amount` images, in `unit`, with its ratio to that of the first row."""
    table = Table(title=f"{what}, median of {rounds} rounds", box=SIMPLE_HEAD)
    for header in ("", unit, "× the first", "range"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for row in rows:
        times = [amount / speed for speed in row.speeds]
        ratio = 1 / row.ratios[rows[0].name]
        spread = f"{min(times):.2f} to {max(times):.2f}"
        table.add_row(row.label, f"{median(times):.2f}", f"{ratio:.3f}", spread)
    return table


def whole_run_lines(results: dict[str, list[Result]]) -> list[str]:
    """A whole default run, and the time that the original's way would take for the same epochs."""
    original, whole = results["original-4"], results["whole-run"]
    epochs = int(whole[0]["epochs"])
    epoch = [EPOCH * result["seconds"] / result["images"] for result in original]
    evaluation = [result["evaluation_seconds"] for result in original]
    theirs = [epochs * (a + b) for a, b in zip(epoch, evaluation, strict=True)]
    ours = [result["seconds"] for result in whole]
    ratio = median(a / b for a, b in zip(theirs, ours, strict=True))
    return [
        f"A whole run of {epochs} epochs and {epochs} evaluations, median of {len(whole)} rounds",
        f"  train.py, from command to prompt      {median(ours):7.1f} s "
        f"({median(result['training_seconds'] for result in whole):.1f} s in training, "
        f"peak {median(result['memory_mb'] for result in whole):,.0f} MB)",
        f"  the original's way, extrapolated       {median(theirs):7.1f} s "
        f"({epochs} × ({median(epoch):.1f} s training + {median(evaluation):.1f} s evaluation); "
        "starting not counted)",
        f"  ratio                                 {ratio:7.2f}",
    ]


def short_run_lines(results: dict[str, list[Result]]) -> list[str]:
    """Seconds from command to prompt, and in training, of each recipe."""
    return [
        f"{name}: {median(run['seconds'] for run in runs):.1f} s from command to prompt, "
        f"{median(run['training_seconds'] for run in runs):.1f} s in training; "
        f"medians of {len(runs)} runs"
        for name, runs in results.items()
    ]


def plot_speed(rows: list[ProgramSpeed], path: Path) -> None:
    """Plot a bar for each program: images a second, with the range over the rounds."""
    # Imported here because it is needed only after all clocks have stopped.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        colour = COLOURS.get(row.name.partition("-")[0], "tab:green")
        axes.barh(row.label, row.speed, color=colour)
        axes.hlines(row.label, min(row.speeds), max(row.speeds), color="black", lw=1.5)
        axes.annotate(
            f"{row.speed:,.0f}", (max(row.speeds), row.label), (6, 0), textcoords="offset points",  # type: ignore[arg-type, unused-ignore]
            va="center",
        )  # fmt: skip
    axes.invert_yaxis()
    # Linear: the length of a bar on a logarithmic axis depends on where the axis starts.
    axes.set(
        xlabel="images/s; black: range over the rounds",
        title="Training the 9,594-parameter network on MNIST, batch 128",
    )
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    FigureCanvasAgg(figure).print_png(path)


def plot_scaling(rows: list[ProgramSpeed], path: Path) -> None:
    """Plot images a second against the batch size, a line for each kind of parallelism."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    speeds = {row.name: row.speeds for row in rows}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for mode in MODES:
        points = [
            (batch, speeds[name])
            for batch in BATCHES
            if (name := f"{mode} batch {batch}") in speeds
        ]
        if not points:
            continue
        batches, measured = zip(*points, strict=True)
        (line,) = axes.plot(batches, [median(values) for values in measured], "o-", label=mode)
        axes.vlines(batches, *zip(*((min(v), max(v)) for v in measured), strict=True),
                    color=line.get_color())  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    axes.set(
        xlabel="batch size (global)", ylabel="images/s", ylim=(0, None),
        title="train.py: speed against batch size",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure).print_png(path)
