"""Start-up time: from the command to the first training step.

It is compared with a program that only imports Lightning and torchvision.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, time

from benchmarks.contestant import Job, Result, main
from benchmarks.program import step_starts, train


def measure(job: Job) -> Result:
    """Start `train.py` once, or the Python program in `job.trying`."""
    if job.trying:
        started = perf_counter()
        subprocess.run([sys.executable, "-c", job.trying], check=True)
        return {"images": 1, "seconds": perf_counter() - started}
    with tempfile.TemporaryDirectory() as temporary:
        folder, started = Path(temporary) / "run", time()
        train(folder, "trainer.max_epochs=1", "trainer.limit_train_batches=2")
        return {"images": 1, "seconds": step_starts(folder)[0] - started}


if __name__ == "__main__":
    main(measure)
