"""Speed of inference, side by side: `python -m benchmarks.inference RUN`.

PyTorch eager against ONNX Runtime, float and int8, on one thread each in one process. All take the
same raw images and give log-probabilities. Rounds are interleaved, so that a drift of the machine
affects all equally; medians are shown.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.training import describe_machine, package_versions
from tiny_mnist.errors import UserError
from tiny_mnist.extras import require
from tiny_mnist.system.telemetry import disable_onnxruntime_telemetry

Images = np.ndarray[Any, np.dtype[np.uint8]]
Predict = Callable[[Images], object]
BATCH = 256  # images
CALLS = {1: 200, BATCH: 5}  # a round, by images a call
console = Console(highlight=False)


def load_programs(run: Path, folder: Path) -> dict[str, Predict]:
    """PyTorch and the exported files, each as images → log-probabilities on one thread."""
    require("export", "benchmarks.inference")
    disable_onnxruntime_telemetry()
    import onnxruntime
    import torch

    from tiny_mnist.evaluation.predict import predict
    from tiny_mnist.export.export import FORMATS, export
    from tiny_mnist.export.onnx_format import INPUT
    from tiny_mnist.runs.images import load_images
    from tiny_mnist.runs.network import load_network

    torch.set_num_threads(1)
    network = load_network(run)
    data = load_images(run)

    def session(name: str) -> Predict:
        path = folder / f"{name}.onnx"
        export(network, path, data, {}, FORMATS[name])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda images: runtime.run(None, {INPUT: images})

    return {
        "PyTorch eager": lambda images: predict(network, torch.from_numpy(images), data.info),
        "ONNX Runtime, float": session("onnx"),
        "ONNX Runtime, int8": session("onnx-int8"),
    }


def median_seconds(predict_batch: Predict, images: Images, calls: int) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        predict_batch(images)
        times.append(time.perf_counter() - started)
    return median(times)


def main(
    run: Annotated[Path, typer.Argument(help="A run folder; the weights do not matter here.")],
    rounds: Annotated[int, typer.Option(min=1, help="Times each is measured.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder for the JSON.")] = Path("runs/benchmarks"),
) -> None:
    """Measure the latency of one image and the throughput of batches, on one thread."""
    record: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": package_versions("torch", "onnxruntime", "numpy"),
        "rounds": rounds,
        "batch": BATCH,
    }
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 28, 28), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        try:
            programs = load_programs(run, Path(folder))
        except UserError as error:
            sys.exit(f"error: {error}")
        seconds: dict[str, dict[int, list[float]]] = {
            name: {size: [] for size in CALLS} for name in programs
        }
        for predict_batch in programs.values():  # the first calls set things up
            for size in CALLS:
                median_seconds(predict_batch, images[:size], 3)
        for _ in track(range(rounds), "Inference", console=console, transient=True):
            for size, calls in CALLS.items():
                for name, predict_batch in programs.items():
                    seconds[name][size].append(median_seconds(predict_batch, images[:size], calls))
    record["seconds_of_a_call"] = seconds
    out.mkdir(parents=True, exist_ok=True)
    path = out / "inference.json"
    path.write_text(json.dumps(record, indent=2) + "\n")

    table = Table(title=f"One thread, median of {rounds} rounds", box=SIMPLE_HEAD)
    table.add_column("")
    for header in ("one image, µs", "× PyTorch", f"images/s in {BATCH}s", "× PyTorch"):
        table.add_column(header, justify="right")
    eager = seconds["PyTorch eager"]
    for name, own in seconds.items():
        # A ratio within a round does not depend on what slowed down the whole round.
        ratio = {s: median(a / b for a, b in zip(eager[s], own[s], strict=True)) for s in CALLS}
        table.add_row(
            name, f"{1e6 * median(own[1]):,.0f}", f"{ratio[1]:.1f}",
            f"{BATCH / median(own[BATCH]):,.0f}", f"{ratio[BATCH]:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"Written to {path}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
