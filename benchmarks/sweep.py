"""Time of a sweep whose jobs run one after the other, and side by side with hydra/launcher=joblib.

    python -m benchmarks.sweep [--jobs 2] [--seeds 4] [OVERRIDE …]

One after the other, each job has all threads of the machine. A second sequential sweep has as many
threads a job as the parallel one, so that the weights can be compared bit for bit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.contestant import PROJECT


def time_sweep(folder: Path, arguments: list[str], threads: int | None) -> float:
    """Sweep into a folder. Returns the seconds from command to prompt."""
    environment = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "train.py", "-m", *arguments, f"hydra.sweep.dir={folder}"]
    started = perf_counter()
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def weights_by_job(folder: Path) -> dict[str, str]:
    """The checksum of each job's weights, by its folder's name."""
    found = folder.glob("*/summary.json")
    return {path.parent.name: json.loads(path.read_text())["weights_sha256"] for path in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=4)
    options, overrides = parser.parse_known_args()
    swept = [*overrides, f"seed=range({options.seeds})"]
    beside = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={options.jobs}"]
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / name for name in ("one", "two", "same")]
        alone = time_sweep(folders[0], swept, None)
        together = time_sweep(folders[1], [*swept, *beside], None)
        same = time_sweep(folders[2], swept, threads)
        equal = weights_by_job(folders[1]) == weights_by_job(folders[2])
        assert len(weights_by_job(folders[1])) == options.seeds
    each = f"{threads} thread{'s' if threads > 1 else ''} each"
    print(f"{'one after the other, all threads':40} {alone:8.1f} s")
    print(f"{f'one after the other, {each}':40} {same:8.1f} s")
    print(f"{f'{options.jobs} at once, {each}':40} {together:8.1f} s")
    print(f"{alone / together:.2f}× as fast; weights {'equal' if equal else 'NOT equal'}")


if __name__ == "__main__":
    main()
