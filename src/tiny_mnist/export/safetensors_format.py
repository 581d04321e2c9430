"""safetensors: weights and buffers under their names, without the network and the normalisation."""

from copy import deepcopy
from pathlib import Path

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tiny_mnist.data.datasets import DatasetInfo
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.export.format import ExportedFile, Tolerance, outputs, subject
from tiny_mnist.extras import require
from tiny_mnist.models.tiny_cnn import TinyCNN


def describe_weights(info: DatasetInfo) -> str:
    """What a network with these weights takes and gives, for the metadata of the file."""
    return (
        "Weights and buffers of the network alone. Its input is float32 [batch, 1, 28, 28], a "
        f"light {subject(info)} on dark as in {info.name}; normalisation is NOT inside: grey "
        f"values of 0 to 255 must become (grey / 255 - {info.mean}) / {info.std}. Its output is "
        f"float32 [batch, {info.num_classes}], natural logarithms of the probabilities of "
        f"{outputs(info)}."
    )


def encode(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """The weights, with metadata that says how images must be normalised."""
    require("export", "export to safetensors")
    from safetensors.torch import save

    # Cloned, as safetensors refuses tensors that share their memory, such as tied weights.
    state = {
        name: tensor.cpu().contiguous().clone() for name, tensor in network.state_dict().items()
    }
    described = {
        **metadata,
        "description": describe_weights(data.info),
        "normalisation": "not inside",
        "mean": str(data.info.mean),
        "std": str(data.info.std),
        "input_layout": "float32 [batch, 1, 28, 28]",
    }

    def read_back(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n classes"]:
        return predict(load_weights(deepcopy(network), path), images, data.info)

    return ExportedFile(bytes(save(state, described)), read_back, Tolerance(log_probs=1e-4))


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load an exported file into a network of the same architecture."""
    from safetensors.torch import load_file

    network.load_state_dict(load_file(path))
    return network


def load_tiny_cnn(path: Path) -> TinyCNN:
    """The `TinyCNN` of an exported file, in evaluation mode; its sizes follow from the weights."""
    from safetensors.torch import load_file

    state = load_file(path)
    network = TinyCNN(len(state["block1.0.0.weight"]), len(state["head.1.weight"]))
    network.load_state_dict(state)
    return network.eval()
