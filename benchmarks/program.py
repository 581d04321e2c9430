"""`python train.py` as a user runs it, with its progress bar and output.

It runs in the pseudo-terminal that `benchmarks.training` gives to every measured program.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.contestant import PROJECT, Job, Result, main


def train(folder: Path, *overrides: str) -> float:
    """Run train.py into `folder`. Returns the seconds from command to prompt."""
    # On the CPU, as the other programs, even if there is a GPU.
    command = [
        sys.executable, "train.py", f"hydra.run.dir={folder}", "trainer.accelerator=cpu", *overrides
    ]  # fmt: skip
    started = perf_counter()
    subprocess.run(command, cwd=PROJECT, check=True)
    return perf_counter() - started


def measure(job: Job) -> Result:
    """Train two epochs of `job.steps` steps; the first is a warm-up."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        train(
            folder,
            "trainer.max_epochs=2",
            f"trainer.limit_train_batches={job.steps}",
            f"data.batch_size={job.batch}",
            *job.overrides,
        )
        starts = step_starts(folder)[job.steps :]
        if len(starts) == job.steps:
            # From the start of the first step to the start of the last, by the program's clock.
            return {"images": job.batch * (job.steps - 1), "seconds": starts[-1] - starts[0]}
        # Times of single steps are missing: take the whole training, warm-up included.
        summary = json.loads((folder / "summary.json").read_text())
        return {"images": 2 * job.batch * job.steps, "seconds": summary["training_seconds"]}


def step_starts(folder: Path) -> list[float]:
    """Times at which the steps started, from the learning-rate curve in TensorBoard's files."""
    # Imported here because it is needed only after the clock has stopped.
    from tensorboard.backend.event_processing import (
        event_accumulator,
    )

    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for tag in events.Tags()["scalars"]:
        if "learning_rate" in tag:
            return [event.wall_time for event in events.Scalars(tag)]
    return []


if __name__ == "__main__":
    main(measure)
