"""Network architectures."""

from tiny_mnist.models.mlp import MLP
from tiny_mnist.models.tiny_cnn import TinyCNN, parameter_count

__all__ = ["MLP", "TinyCNN", "parameter_count"]
