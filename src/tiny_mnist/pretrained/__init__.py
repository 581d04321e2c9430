"""The network that comes with the package; `python -m tiny_mnist.pretrained.ship RUN` made it."""

from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "tiny_mnist.safetensors"
GRAPH = FOLDER / "tiny_mnist.onnx"
CARD = FOLDER / "card.json"
