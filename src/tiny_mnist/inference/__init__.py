"""From a picture of handwriting to digits, without PyTorch unless the network is that of a run."""

from typing import TYPE_CHECKING

from tiny_mnist.lazy import import_on_use

if TYPE_CHECKING:
    from tiny_mnist.inference.image_io import LoadedImage, read_picture
    from tiny_mnist.inference.predictor import (
        DigitPrediction,
        ImagePrediction,
        predict_images,
        pretrained_network,
        run_network,
    )

__all__ = [
    "DigitPrediction",
    "ImagePrediction",
    "LoadedImage",
    "predict_images",
    "pretrained_network",
    "read_picture",
    "run_network",
]

__getattr__ = import_on_use(
    __name__,
    {
        "DigitPrediction": "predictor",
        "ImagePrediction": "predictor",
        "LoadedImage": "image_io",
        "predict_images": "predictor",
        "pretrained_network": "predictor",
        "read_picture": "image_io",
        "run_network": "predictor",
    },
)
