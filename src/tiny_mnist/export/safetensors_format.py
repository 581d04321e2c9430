"""safetensors: weights and buffers under their names, without the network and the normalisation."""

from copy import deepcopy
from pathlib import Path

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.transforms import MEAN, STD
from tiny_mnist.errors import require
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.export.format import ExportedFile, Tolerance
from tiny_mnist.models.tiny_cnn import TinyCNN

INPUT_TEXT = (
    "Weights and buffers of the network alone. Its input is float32 [batch, 1, 28, 28], a light "
    "digit on dark as in MNIST; normalisation is NOT inside: grey values of 0 to 255 must become "
    f"(grey / 255 - {MEAN}) / {STD}. Its output is float32 [batch, 10], natural logarithms of the "
    "probabilities of the digits 0-9."
)


def encode(network: nn.Module, mnist: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """The weights, with metadata that says how images must be normalised."""
    require("export", "export to safetensors")
    from safetensors.torch import save

    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    described = {
        **metadata,
        "description": INPUT_TEXT,
        "normalisation": "not inside",
        "mean": str(MEAN),
        "std": str(STD),
        "input_layout": "float32 [batch, 1, 28, 28]",
    }

    def read_back(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
        return predict(load_weights(deepcopy(network), path), images)

    return ExportedFile(bytes(save(state, described)), read_back, Tolerance(log_probs=1e-4))


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load an exported file into a network of the same architecture."""
    from safetensors.torch import load_file

    network.load_state_dict(load_file(path))
    return network


def load_tiny_cnn(path: Path) -> TinyCNN:
    """The `TinyCNN` of an exported file, in evaluation mode; its width follows from the weights."""
    from safetensors.torch import load_file

    state = load_file(path)
    network = TinyCNN(width=len(state["block1.0.0.weight"]))
    network.load_state_dict(state)
    return network.eval()
