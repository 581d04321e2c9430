"""Log-probabilities of a trained network for raw images."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tiny_mnist.data.datasets import DatasetInfo
from tiny_mnist.data.loaders import EVALUATION_BATCH
from tiny_mnist.data.transforms import normalize
from tiny_mnist.models.evaluation_mode import evaluation_mode


@torch.inference_mode()
def predict(
    network: nn.Module, images: UInt8[Tensor, "n 28 28"], info: DatasetInfo
) -> Float[Tensor, "n classes"]:
    """Log-probabilities for raw images, computed in evaluation mode on the network's device.

    Args:
        network: maps normalised images to log-probabilities; afterwards, its layers have the modes
            that they had before.
        images: grey levels 0-255, white on black.
        info: the dataset that the network was trained on, which says how images are normalised.

    Returns:
        Log-probabilities on the CPU.
    """
    device = next(network.parameters()).device
    with evaluation_mode(network):
        return torch.cat(
            [
                network(normalize(part.to(device), info)).cpu()
                for part in images.split(EVALUATION_BATCH)
            ]
        )
