"""MNIST: verified files, one tensor of images, augmented batches."""

from tiny_mnist.data.datamodule import MNISTDataModule, ModelBatch
from tiny_mnist.data.datasets import MNIST, IdxDataset, IdxFile
from tiny_mnist.data.download import Mnist, default_root, load
from tiny_mnist.data.loaders import EvaluationLoader, TrainingLoader
from tiny_mnist.data.transforms import Augmentation

__all__ = [
    "MNIST",
    "Augmentation",
    "EvaluationLoader",
    "IdxDataset",
    "IdxFile",
    "MNISTDataModule",
    "Mnist",
    "ModelBatch",
    "TrainingLoader",
    "default_root",
    "load",
]
