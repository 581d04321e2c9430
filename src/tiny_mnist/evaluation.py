"""What a trained network answers for a set of images."""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_mnist.data.augment import normalize

BATCH = 1000  # images; only speed and memory depend on it


@torch.inference_mode()
def predict(network: nn.Module, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
    """Log-probabilities for raw images, on the device of the network, in evaluation mode."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    answers = [network(normalize(part.to(device))).cpu() for part in images.split(BATCH)]
    network.train(was_training)
    return torch.cat(answers)


def score(log_probs: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"]) -> tuple[float, float]:
    """Mean negative log-likelihood, and accuracy in percent."""
    correct = int((log_probs.argmax(dim=1) == labels).sum())
    return float(F.nll_loss(log_probs, labels)), 100 * correct / len(labels)
