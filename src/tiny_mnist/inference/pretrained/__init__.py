"""The networks that come with the package.

`research/ship_pretrained.py` writes the digit classifier, `research/train_verifier.py` the network
that tells digits from everything else, `research/train_row_reader.py` the one that reads rows.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tiny_mnist.system.telemetry import disable_onnxruntime_telemetry

if TYPE_CHECKING:
    import onnxruntime

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "tiny_mnist.safetensors"
GRAPH = FOLDER / "tiny_mnist.onnx"
CARD = FOLDER / "card.json"
VERIFIER = FOLDER / "verifier.onnx"
VERIFIER_CARD = FOLDER / "verifier.json"
ROW_READER = FOLDER / "row_reader.onnx"
ROW_READER_CARD = FOLDER / "row_reader.json"


def open_session(graph: Path) -> "onnxruntime.InferenceSession":
    """An ONNX file ready to run on one thread: networks this small gain nothing from more."""
    disable_onnxruntime_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
