"""Several runs as one table."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from tiny_mnist.errors import UserError


def find_runs(folders: list[Path]) -> dict[Path, dict[str, Any]]:
    """The summaries of all finished runs in and below some folders.

    Raises:
        UserError: there is none, or one cannot be read.
    """
    found = sorted({path for folder in folders for path in folder.rglob("summary.json")})
    if not found:
        raise UserError(f"no finished run in {', '.join(map(str, folders))}")
    try:
        return {path.parent: json.loads(path.read_text()) for path in found}
    except (OSError, ValueError) as error:
        raise UserError(f"a summary.json cannot be read: {error}") from error


def runs_table(runs: dict[Path, dict[str, Any]]) -> Table:
    """One row a run."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Run")
    for column in ("Seed", "Epochs", "Test accuracy (%)", "Seconds in training"):
        table.add_column(column, justify="right")
    for path, summary in runs.items():
        table.add_row(
            path.name,
            str(summary["seed"]),
            str(summary["epochs"]),
            f"{summary['test_accuracy']:.2f}",
            f"{summary['training_seconds']:.1f}",
        )
    return table


def spread(runs: dict[Path, dict[str, Any]]) -> str:
    """n, mean ± standard deviation over the runs, smallest and largest test accuracy."""
    accuracies = [summary["test_accuracy"] for summary in runs.values()]
    deviation = f" ± {stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
    return (
        f"n = {len(accuracies)}, test accuracy {mean(accuracies):.3f}{deviation} %, "
        f"{min(accuracies):.2f} to {max(accuracies):.2f} %"
    )
