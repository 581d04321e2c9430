"""Read digits from Python: the network that comes with the package, or that of any run."""

from collections.abc import Iterable
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tiny_mnist.errors import UserError
from tiny_mnist.extras import require
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.image_io import (
    LoadedImage,
    RGBImage,
    check_size,
    convert_pillow_errors,
    load_pillow,
    read_picture,
    to_rgb,
)

# The predictor is imported where it is used: it needs OpenCV, which is optional.
if TYPE_CHECKING:
    from tiny_mnist.inference.predictor import ImagePrediction, Source
    from tiny_mnist.training.lit_module import LitClassifier

Picture: TypeAlias = str | PathLike[str] | NDArray[Any] | Image.Image

OVERSHOOT = 0.1
"""How far below 0 and above 1 floating-point pixels may be, as a resize leaves them."""


def load(run: str | PathLike[str] | None = None, trust: bool = False) -> "DigitReader":
    """Load a network that reads digits.

    Args:
        run: a run folder, such as "runs/2026-…"; None is the network that comes with the package,
            which needs no PyTorch.
        trust: whether the run may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: a package is not installed, or the folder holds no trained network that reads
            digits, or names a class that is not trusted.
    """
    return DigitReader(None if run is None else Path(run), trust)


class DigitReader:
    """Reads digits and numbers in pictures.

    Args:
        run: a run folder; None is the network that comes with the package.
        trust: whether the run may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: a package is not installed, or the folder holds no trained network that reads
            digits, or names a class that is not trusted.
    """

    def __init__(self, run: Path | None = None, trust: bool = False) -> None:
        require("predict", "tiny_mnist.load()")
        from tiny_mnist.inference.predictor import pretrained_network, run_network

        self.run: Path | None = None
        self.trust = trust
        if run is None:
            self._network = pretrained_network()
        else:
            from tiny_mnist.runs.folder import resolve_trained_run

            self.run = resolve_trained_run(run).path  # "latest" may be another one later
            self._network = run_network(self.run, trust)

    @overload  # a string is one picture, although it is iterable too
    def predict(self, pictures: Picture) -> "ImagePrediction": ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, pictures: Iterable[Picture]) -> "list[ImagePrediction]": ...

    def predict(self, pictures: Picture | Iterable[Picture]) -> Any:
        """Read one picture or several.

        Args:
            pictures: a path, a Pillow image or an array, or a list of them. Arrays are
                [height, width], [height, width, 1], RGB [height, width, 3] or RGBA
                [height, width, 4], of any size, dark ink on light or light on dark; or
                [n, height, width] for n grey pictures. Whole numbers are from 0 to 255,
                floating-point numbers from 0 to 1, or a tenth beyond, as a resize leaves them.
                Anything else is stretched from its lowest to its highest value.

        Returns:
            The prediction for one picture, else a list of them, without the pictures
            themselves. Where a file or a Pillow image cannot be read, the prediction's `error`
            tells why, and its status is "error".

        Raises:
            TypeError: something is not a picture.
            ValueError: an array is empty or has another shape.
        """
        from tiny_mnist.inference.predictor import predict_images

        if isinstance(pictures, (str, PathLike, Image.Image)) or (
            isinstance(pictures, np.ndarray) and not is_stack(pictures)
        ):
            (prediction,) = predict_images([to_source(pictures, "picture")], self._network)
            return prediction
        if not isinstance(pictures, Iterable):
            raise TypeError(f"{type(pictures).__name__} is not a picture, nor a list of pictures")
        sources = (to_source(one, f"picture {place}") for place, one in enumerate(pictures))
        return list(predict_images(sources, self._network))

    @cached_property
    def module(self) -> "LitClassifier":
        """The network as a LightningModule in evaluation mode, on the CPU; imports PyTorch.

        It takes normalised images, [n, 1, 28, 28], and gives log-probabilities, [n, 10]. That of a
        run has the run's optimizer, schedule and hyper-parameters.

        Raises:
            UserError: the run names an optimizer or a schedule that is not trusted.
        """
        from tiny_mnist.training.lit_module import LitClassifier

        if self.run is None:
            from tiny_mnist.export.safetensors_format import load_tiny_cnn

            return LitClassifier(load_tiny_cnn(pretrained.WEIGHTS)).eval()
        from tiny_mnist.runs.folder import find_trained_checkpoint

        module = LitClassifier.load_from_checkpoint(
            find_trained_checkpoint(self.run), map_location="cpu", trust=self.trust
        )
        return module.eval()


def is_stack(array: NDArray[Any]) -> bool:
    """Whether this is [n, height, width], several grey pictures, and not one in colour."""
    return array.ndim == 3 and array.shape[-1] not in (1, 3, 4)


def to_source(picture: Picture, name: str) -> "Source":
    """A picture's name, and what loads it.

    Raises:
        TypeError: it is not a picture.
        ValueError: an array is empty or has a wrong shape.
    """
    if isinstance(picture, (str, PathLike)):
        return fspath(picture), partial(read_picture, Path(picture))
    if isinstance(picture, Image.Image):
        try:
            with convert_pillow_errors(name):
                check_size(picture, name)
                copy = picture.copy()  # reads the file, if the picture was only opened
        except UserError as error:
            return name, partial(fail, error)
        return name, partial(load_image, copy, name)
    if isinstance(picture, np.ndarray):
        return name, partial(LoadedImage, to_pixels(picture))
    raise TypeError(f"{type(picture).__name__} is not a path, an array or a Pillow image")


def load_image(picture: Image.Image, name: str) -> LoadedImage:
    """Load a Pillow image.

    Raises:
        UserError: it has too many pixels, or is damaged.
    """
    with convert_pillow_errors(name):
        return load_pillow(picture, name)


def fail(error: UserError) -> LoadedImage:
    """Raise an error where a picture would be loaded."""
    raise error


def to_pixels(array: NDArray[Any]) -> RGBImage:
    """An array as eight-bit RGB.

    Raises:
        TypeError: it holds no real numbers.
        ValueError: it is empty or has a wrong shape.
    """
    if array.dtype.kind not in "buif":
        raise TypeError(f"an array of {array.dtype} is not a picture")
    if array.ndim not in (2, 3) or not array.size or is_stack(array):
        raise ValueError(
            f"an array of shape {array.shape} is not a picture: "
            "[height, width] or [height, width, 1, 3 or 4] is needed"
        )
    levels = to_bytes(array)
    if levels.ndim == 2 or levels.shape[-1] == 1:
        return np.repeat(levels.reshape(*levels.shape[:2], 1), 3, axis=2)
    return to_rgb(Image.fromarray(np.ascontiguousarray(levels)))


def to_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of any range as 0 to 255; what is not finite counts as 0."""
    if array.dtype == np.uint8:
        return array
    values = np.nan_to_num(np.asarray(array, np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if array.dtype.kind in "bf" and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return np.asarray((values.clip(0, 1) * 255).round(), np.uint8)
    if array.dtype.kind in "iu" and low >= 0 and high <= 255:
        return np.asarray(values, np.uint8)
    if low == high:
        return np.zeros(array.shape, np.uint8)
    return np.asarray(((values - low) * (255 / (high - low))).round(), np.uint8)
