"""MNIST, Fashion-MNIST and any IDX files: one tensor of images, augmented batches."""

from tiny_mnist.data.datamodule import (
    FashionMNISTDataModule,
    IdxDataModule,
    MNISTDataModule,
    ModelBatch,
)
from tiny_mnist.data.datasets import FASHION_MNIST, MNIST, DatasetInfo, IdxDataset, IdxFile
from tiny_mnist.data.download import default_root, load_dataset
from tiny_mnist.data.idx import LabelledImages, load_idx
from tiny_mnist.data.loaders import EvaluationLoader, TrainingLoader
from tiny_mnist.data.transforms import Augmentation

__all__ = [
    "FASHION_MNIST",
    "MNIST",
    "Augmentation",
    "DatasetInfo",
    "EvaluationLoader",
    "FashionMNISTDataModule",
    "IdxDataModule",
    "IdxDataset",
    "IdxFile",
    "LabelledImages",
    "MNISTDataModule",
    "ModelBatch",
    "TrainingLoader",
    "default_root",
    "load_dataset",
    "load_idx",
]
