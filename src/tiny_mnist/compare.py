"""Several runs as one table."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from tiny_mnist.errors import UserError

Summary = dict[str, Any]
"""The content of a summary.json."""
NEEDED = ("seed", "epochs", "test_accuracy", "training_seconds", "settings")


def find_runs(folders: list[Path]) -> dict[Path, Summary]:
    """The summaries of all finished runs in and below some folders, each once.

    Raises:
        UserError: there is none, or one is not a summary of a run.
    """
    found = sorted({path.resolve() for folder in folders for path in folder.rglob("summary.json")})
    if not found:
        raise UserError(f"no finished run in {', '.join(map(str, folders))}")
    runs = {}
    for path in found:
        try:
            summary = json.loads(path.read_text())
            runs[path.parent] = {key: summary[key] for key in NEEDED}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not the summary of a run: {error!r}") from error
    return runs


def group_by_settings(runs: dict[Path, Summary]) -> dict[str, list[Summary]]:
    """Runs that differ in the seed alone, by what sets their settings apart from the others."""

    def settings(summary: Summary) -> dict[str, Any]:
        return {key: value for key, value in summary["settings"].items() if key != "seed"}

    everything = [settings(summary) for summary in runs.values()]
    keys = dict.fromkeys(key for each in everything for key in each)
    varied = [key for key in keys if len({repr(each.get(key)) for each in everything}) > 1]
    groups: dict[str, list[Summary]] = {}
    for summary in runs.values():
        name = " ".join(f"{key}={settings(summary).get(key)}" for key in varied)
        groups.setdefault(name, []).append(summary)
    return groups


def comparison(runs: dict[Path, Summary]) -> Table:
    """One row for each set of settings: its final test accuracy over seeds, and its cost."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Settings")
    for column in ("Runs", "Test accuracy (%)", "Each seed", "Seconds in training"):
        table.add_column(column, justify="right")
    for name, group in group_by_settings(runs).items():
        group.sort(key=lambda summary: int(summary["seed"]))
        accuracies = [summary["test_accuracy"] for summary in group]
        table.add_row(
            name or "all the same",
            str(len(group)),
            spread(accuracies),
            " ".join(f"{accuracy:.2f}" for accuracy in accuracies),
            f"{mean(summary['training_seconds'] for summary in group):.1f}",
        )
    return table


def spread(values: list[float]) -> str:
    """Mean ± standard deviation of a sample; the mean alone for one value."""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}"
