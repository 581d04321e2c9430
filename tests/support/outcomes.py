"""What a run has produced, in a form that can be compared bit for bit."""

import csv
import json
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tiny_mnist.runs.folder import Row, RunFolder


def outcome(run: RunFolder) -> dict[str, Any]:
    """All that a run has come to, but for times and places, to be compared bit for bit."""
    summary = json.loads(run.summary.read_text())
    seconds, speed = summary.pop("training_seconds"), summary.pop("images_per_second")
    summary.pop("commit")  # somebody may commit while the tests run
    summary["config"].pop("checkpoint_every")
    summary["config"]["data"].pop("root")
    return {
        "summary": summary,
        "images": round(seconds * speed, -1),  # of a rounded rate
        "metrics": run.metrics.read_text(),
        "pictures": [p.read_bytes() for p in (run.curves, run.predictions, run.confusion)],
        "curves": {
            folder.relative_to(run.path).as_posix(): curves(folder)
            for folder in {path.parent for path in run.path.rglob("events.out.tfevents.*")}
        },
        "files": sorted(
            path.relative_to(run.path).as_posix()
            for path in run.path.rglob("*")
            if "tfevents" not in path.name and path.is_file()
        ),
    }


def weights(sweep: Path) -> dict[str, str]:
    """The checksum of the weights of each finished job of a sweep, by its folder's name."""
    return {
        path.parent.name: json.loads(path.read_text())["weights_sha256"]
        for path in sweep.glob("*/summary.json")
    }


def read_metrics(run: RunFolder) -> list[Row]:
    """The rows of metrics.csv."""
    with run.metrics.open(newline="") as file:
        return [
            {
                key: (int(cell) if key == "epoch" else float(cell)) if cell else None
                for key, cell in row.items()
            }
            for row in csv.DictReader(file)
        ]


def curves(folder: Path) -> dict[str, list[Any]]:
    """Every point and picture in the TensorBoard files of a folder, doubled ones included."""
    guidance = {"scalars": 0, "images": 0}
    events = EventAccumulator(str(folder), guidance, purge_orphaned_data=False).Reload()
    tags = events.Tags()
    return {
        **{tag: [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags["scalars"]},
        **{tag: [(p.step, p.width) for p in events.Images(tag)] for tag in tags["images"]},
    }
