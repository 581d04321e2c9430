"""Export the shipped network in every format, and measure size, accuracy and time an image.

python -m research.export_shipped FOLDER
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tiny_mnist.data import download
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.export import c, html, onnx_format
from tiny_mnist.export.export import FORMATS, Comparison, export
from tiny_mnist.export.safetensors_format import load_tiny_cnn
from tiny_mnist.inference import pretrained

ROUNDS = 3


def microseconds(read: Callable[[Tensor], Tensor], images: Tensor, few: int = 500) -> float:
    """Median time an image over `ROUNDS`, without what every start costs."""
    times = []
    for _ in range(ROUNDS):
        seconds = []
        for count in (few, len(images)):
            started = time.perf_counter()
            read(images[:count])
            seconds.append(time.perf_counter() - started)
        times.append(1e6 * (seconds[1] - seconds[0]) / (len(images) - few))
    return sorted(times)[ROUNDS // 2]


def main() -> None:
    """Write the files into the folder named on the command line, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    network = load_tiny_cnn(pretrained.WEIGHTS)
    mnist = download.load_dataset(download.default_root())
    card = json.loads(pretrained.CARD.read_text())
    readers: dict[str, Callable[[Tensor], Tensor]] = {
        "onnx": partial(onnx_format.predict_onnx, folder / "tiny-mnist.onnx"),
        "onnx-int8": partial(onnx_format.predict_onnx, folder / "tiny-mnist-int8.onnx"),
        "safetensors": partial(predict, network),
        "html": partial(html.run_in_browser, folder / "tiny-mnist.html"),
        "c": lambda images: c.run_c(folder / "tiny-mnist.c", images, "-O2"),
    }
    print("| format | bytes | test accuracy | same digit as the reference | µs an image |")
    print("|---|---|---|---|---|")
    try:
        for name, file_format in FORMATS.items():
            path = folder / file_format.file_name
            result = export(network, path, mnist, card, file_format)
            if not isinstance(result, Comparison):
                sys.exit("\n".join(result.describe()))
            time_an_image = microseconds(readers[name], mnist.test_images[:5000])
            print(
                f"| {name} | {path.stat().st_size:,} | {result.accuracy:.2f} % "
                f"| {result.agreement:.2f} % of {result.reference} | {time_an_image:,.0f} |",
                flush=True,
            )
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
