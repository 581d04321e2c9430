"""The network that comes with the package; `ship.py` writes it from a run folder."""

from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "tiny_mnist.safetensors"
GRAPH = FOLDER / "tiny_mnist.onnx"
CARD = FOLDER / "card.json"
