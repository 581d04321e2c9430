"""A 9,594-parameter convolutional network on MNIST, with PyTorch Lightning and Hydra.

The public names are imported when they are first used, so that `load` needs no PyTorch:

    import tiny_mnist
    prediction = tiny_mnist.load().predict("photo.jpg")
    print(prediction.text, prediction.confidence)
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiny_mnist.api import DigitReader, load
    from tiny_mnist.data.datamodule import MNISTDataModule
    from tiny_mnist.errors import UserError
    from tiny_mnist.inference.predictor import DigitPrediction, ImagePrediction
    from tiny_mnist.models.tiny_cnn import TinyCNN
    from tiny_mnist.training.lit_module import LitClassifier

__all__ = [
    "DigitPrediction",
    "DigitReader",
    "ImagePrediction",
    "LitClassifier",
    "MNISTDataModule",
    "TinyCNN",
    "UserError",
    "load",
]

try:
    __version__ = version("tiny-mnist")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0+unknown"

_MODULES = {
    "DigitPrediction": "inference.predictor",
    "DigitReader": "api",
    "ImagePrediction": "inference.predictor",
    "LitClassifier": "training.lit_module",
    "MNISTDataModule": "data.datamodule",
    "TinyCNN": "models.tiny_cnn",
    "UserError": "errors",
    "load": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
