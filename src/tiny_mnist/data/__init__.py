"""MNIST: files → one tensor of images → augmented batches."""

from tiny_mnist.data.datamodule import MNISTDataModule, Normalized

__all__ = ["MNISTDataModule", "Normalized"]
