"""MNIST: files → one tensor of images → augmented batches."""

from tiny_mnist.data.datamodule import MNISTDataModule, ModelBatch

__all__ = ["MNISTDataModule", "ModelBatch"]
