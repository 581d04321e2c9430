"""A whole run of the program, from command to prompt."""

import json
import tempfile
from pathlib import Path

from benchmarks.contestant import Job, Result, main
from benchmarks.program import train


def measure(job: Job) -> Result:
    """Train, evaluate, draw and report with the overrides of the job: ten epochs without any."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        seconds = train(folder, *job.overrides)
        summary = json.loads((folder / "summary.json").read_text())
    return {
        "images": summary["epochs"] * summary["training_images"],
        "seconds": seconds,
        "epochs": summary["epochs"],
        "training_seconds": summary["training_seconds"],
        "test_accuracy": summary["test_accuracy"],
    }


if __name__ == "__main__":
    main(measure)
