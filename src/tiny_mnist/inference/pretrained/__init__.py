"""The network that comes with the package; see `research/ship_pretrained.py`."""

from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "tiny_mnist.safetensors"
GRAPH = FOLDER / "tiny_mnist.onnx"
CARD = FOLDER / "card.json"
