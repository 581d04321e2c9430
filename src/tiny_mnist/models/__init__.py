"""Network architectures."""

from tiny_mnist.models.tiny_cnn import TinyCNN, parameter_count

__all__ = ["TinyCNN", "parameter_count"]
