"""Training speed, side by side: `python -m benchmarks.training`.

Every round runs each contestant once, in a process of its own in a pseudo-terminal of its own;
rounds repeat, so that a drift of the machine affects all equally, and medians are shown. All train
the same network at batch 128 on the CPU, with torch's own number of threads (OMP_NUM_THREADS sets
it).
"""

import json
import os
import platform
import pty
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Only light imports: this process runs while others are measured.
from benchmarks.contestant import BATCH, PROJECT, Job, Result
from benchmarks.report import report_suite
from benchmarks.suites import SPEED, SUITES, Contestant

ORIGINAL_STEPS = 100  # at most: the original's way is slow, and steady after its warm-up
FULL_EPOCH = 468  # full batches in 60,000 images
PACKAGES = ("torch", "torchvision", "lightning", "numpy", "pillow", "keras", "jax", "jaxlib")
console = Console(highlight=False)


def run_contestant(contestant: Contestant, job: Job) -> Result:
    """Measure once in a fresh process, and add its peak memory.

    Raises:
        RuntimeError: the process failed; the message ends with the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        program = f"benchmarks.{contestant.module}"
        command = [sys.executable, "-m", program, job.to_json(), str(file)]
        output, status, peak_mb = run_in_terminal(command, contestant.environment)
        if status:
            raise RuntimeError(f"{contestant.label}: exit status {status}\n{output[-3000:]}")
        result: Result = json.loads(file.read_text())
    result["memory_mb"] = peak_mb + result.get("workers_mb", 0)
    return result


def run_in_terminal(command: list[str], environment: dict[str, str]) -> tuple[str, int, float]:
    """Run a program in a pseudo-terminal of 100 columns, so that it draws its progress bar.

    Returns:
        What it showed, its exit status, and its peak resident memory in MB: its own or that of
        the largest program it ran, whichever is more.
    """
    terminal, slave = pty.openpty()
    size = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=PROJECT,
        env=os.environ | size | environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    output = b""
    try:
        with suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(terminal, 1 << 16):
                output = (output + part)[-(1 << 16) :]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:  # interrupted: take its workers along
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(terminal)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # of ru_maxrss, in bytes or kB
    return output.decode(errors="replace"), process.returncode, usage.ru_maxrss / unit


def measure_rounds(
    contestants: dict[str, Contestant], rounds: int, steps: int
) -> dict[str, list[Result]]:
    """All results of each contestant, measured in turn, round by round."""
    results: dict[str, list[Result]] = {name: [] for name in contestants}
    columns = (
        TextColumn("{task.description:<42}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task("MNIST", total=rounds * len(contestants))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.prepare", folder], cwd=PROJECT, check=True
        )
        for number in range(rounds):
            for name, contestant in contestants.items():
                bar.update(task, description=f"round {number + 1}/{rounds}: {contestant.label}")
                job = Job(count_steps(contestant, steps), folder, **contestant.settings)
                results[name].append(run_contestant(contestant, job))
                bar.advance(task)
    return results


def count_steps(contestant: Contestant, steps: int) -> int:
    """Steps of a program: equally many images for all but the original's way; at least ten."""
    batch: int = contestant.settings.get("batch", BATCH)
    if contestant.module == "original":
        return min(steps, ORIGINAL_STEPS)
    return max(10, min(steps * BATCH, FULL_EPOCH * BATCH) // batch)


def select_available(contestants: dict[str, Contestant]) -> dict[str, Contestant]:
    """The programs whose optional packages are installed; prints which are skipped."""
    chosen = {}
    for name, contestant in contestants.items():
        if missing := [module for module in contestant.needs if find_spec(module) is None]:
            console.print(
                f"{contestant.label}: skipped, {' and '.join(missing)} not installed "
                "(pip install 'tiny-mnist\\[benchmark]')"
            )
        else:
            chosen[name] = contestant
    return chosen


def select_contestants(suite: str, names: str) -> dict[str, Contestant]:
    """The named programs of a suite; the names are separated by commas, and none means all."""
    if suite not in SUITES:
        raise typer.BadParameter(f"no suite {suite}; there are {', '.join(SUITES)}")
    contestants = SUITES[suite]
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in contestants]:
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(contestants)}")
    return {name: c for name, c in contestants.items() if not wanted or name in wanted}


def describe_machine() -> dict[str, Any]:
    """The machine, and its load before the measurement."""
    processor, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "processor": processor or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average_before": os.getloadavg()[0],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def package_versions(*packages: str) -> dict[str, str]:
    """Python's version and those of some packages, where installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def main(
    suite: Annotated[str, typer.Option(help=f"What to measure: {', '.join(SUITES)}.")] = "speed",
    rounds: Annotated[int, typer.Option(min=1, help="Times each contestant is measured.")] = 3,
    steps: Annotated[
        int,
        typer.Option(
            min=5,
            max=FULL_EPOCH,
            help=f"Training steps a round (original: at most {ORIGINAL_STEPS}).",
        ),
    ] = 300,
    out: Annotated[Path, typer.Option(help="Folder for the JSON and the picture.")] = Path(
        "runs/benchmarks"
    ),
    only: Annotated[
        str,
        typer.Option(help=f"Some contestants only; of the suite speed: {', '.join(SPEED)}."),
    ] = "",
) -> None:
    """Measure training speed side by side."""
    # By default Python would exit without stopping the program that is being measured.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    contestants = select_available(select_contestants(suite, only))
    record: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": package_versions(*PACKAGES),
        "suite": suite,
        "rounds": rounds,
        "steps": steps,
        "original_steps": min(steps, ORIGINAL_STEPS),
    }
    record["results"] = measure_rounds(contestants, rounds, steps)
    record["labels"] = {key: contestant.label for key, contestant in contestants.items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{suite}.json").write_text(json.dumps(record, indent=2) + "\n")
    console.print()
    report_suite(record, out, console)
    console.print(f"Written to {out}/", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
