"""Reading digits and numbers in pictures with a trained network.

PyTorch is imported only for the network of a run.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.confidence import CUT, WHOLE, combine_networks
from tiny_mnist.inference.detect import Digit, find_digits
from tiny_mnist.inference.image_io import LoadedImage, enlarge_pillow_blocks
from tiny_mnist.inference.mnist_format import Box

if TYPE_CHECKING:
    from torch import nn

BATCH_SIZE = 16  # number of pictures in memory at the same time
# Chosen on pictures of `python -m research.handwriting --each 12` with the fonts that
# `research.fit_confidence` names, the seeds 7001 to 7006, so that about half of the wrong texts are
# unsure. Of the seeds 7001 to 7004, 33 of 73 are, and 2.9 % of the right ones; with 0.4 instead of
# 0.65, 6 of 73 and less than 1 %.
MIN_CONFIDENCE = 0.65  # of a picture, below which its status is "unsure"
MIN_RELIABILITY = 0.07  # of a picture, below which it is, too

Network = Callable[[UInt8[ndarray, "n 28 28"]], Float32[ndarray, "n 10"]]
"""A function from images as in MNIST, light on black, to log-probabilities."""


class DigitPrediction(NamedTuple):
    """One digit of a picture and what it was read as."""

    box: Box
    """Rectangle around the digit, in pixels of the picture."""
    image: UInt8[ndarray, "28 28"]
    """What the network saw."""
    probabilities: Float32[ndarray, "10"]
    """Probability of each digit from 0 to 9, by all networks together."""
    row: int = 0
    """Number of the row that the digit is in, from the top, starting at 0."""
    reliability: float = 1.0
    """Probability from 0 to 1, from the verifier, that its shape is the digit that it was read as,
    and not another or anything else."""
    count_probability: float = 1.0
    """Probability from 0 to 1 that its row has as many digits as were found."""

    @property
    def ranking(self) -> list[int]:
        """The ten digits, the likeliest first."""
        return [int(digit) for digit in np.argsort(-self.probabilities, kind="stable")]

    @property
    def digit(self) -> int:
        """The likeliest digit."""
        return self.ranking[0]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest digit, from 0 to 1."""
        return float(self.probabilities[self.digit])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        first, second, *_ = self.ranking
        return {
            "digit": first,
            "confidence": round(float(self.probabilities[first]), 6),
            "second": second,
            "second_confidence": round(float(self.probabilities[second]), 6),
            "box": list(self.box),
            "probabilities": [round(float(p), 6) for p in self.probabilities],
            "row": self.row,
            "reliability": round(self.reliability, 6),
        }


class ImagePrediction(NamedTuple):
    """What is in one picture."""

    name: str
    picture: LoadedImage | None
    """The picture; None where it was not asked for, or the file could not be read."""
    digits: list[DigitPrediction]
    """The digits in reading order: rows from top to bottom, each from left to right."""
    error: str = ""
    """One line that says why the file could not be read; empty if it was read."""

    @property
    def text(self) -> str:
        """The digits in reading order; rows are separated by line breaks."""
        rows: dict[int, str] = {}
        for digit in self.digits:
            rows[digit.row] = rows.get(digit.row, "") + str(digit.digit)
        return "\n".join(rows.values())

    @property
    def confidence(self) -> float:
        """Probability that the whole text is right, from 0 to 1; 0 without digits.

        The product of the digits' confidences and of each row's probability that it has as many
        digits as were found.
        """
        if not self.digits:
            return 0.0
        rows = {digit.row: digit.count_probability for digit in self.digits}
        return float(np.prod([*(digit.confidence for digit in self.digits), *rows.values()]))

    @property
    def reliability(self) -> float:
        """The geometric mean of the digits' reliabilities, from 0 to 1; 0 without digits."""
        if not self.digits:
            return 0.0
        logarithms = [np.log(digit.reliability + 1e-30) for digit in self.digits]
        return float(np.exp(np.mean(logarithms)))

    @property
    def status(self) -> str:
        """Which case this is: "digit", "number", "no digit", "unsure" or "error".

        "unsure" has digits, too: the best guess for something that may be no digit or number.
        """
        if self.error:
            return "error"
        if not self.digits:
            return "no digit"
        if self.confidence < MIN_CONFIDENCE or self.reliability < MIN_RELIABILITY:
            return "unsure"
        return "digit" if len(self.digits) == 1 else "number"

    def as_json(self) -> dict[str, Any]:
        """Plain values; the keys of one digit are null unless there is exactly one."""
        only = self.digits[0].as_json() if len(self.digits) == 1 else {}
        keys = ("digit", "confidence", "second", "second_confidence", "box", "probabilities")
        return {
            "file": self.name,
            "status": self.status,
            "text": self.text,
            **{key: only.get(key) for key in keys},
            "confidence": round(self.confidence, 6) if self.digits else None,
            "digits": [digit.as_json() for digit in self.digits],
            "error": self.error or None,
        }


def pretrained_network() -> Network:
    """The network that comes with the package, in ONNX Runtime."""
    session = pretrained.open_session(pretrained.GRAPH)

    def network(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 10"]:
        (log_probs,) = session.run(None, {session.get_inputs()[0].name: images})
        return np.asarray(log_probs)

    return network


def run_network(run: Path, trust: bool = False) -> Network:
    """The network of a run folder, in PyTorch, to predict with; see `load_digit_network`."""
    return module_network(load_digit_network(run, trust))


def load_digit_network(run: Path, trust: bool = False) -> "nn.Module":
    """The network of a run folder, in PyTorch and evaluation mode.

    Args:
        run: the run folder.
        trust: whether the run may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: the folder holds no trained network, or one that was not trained on MNIST or has
            no ten outputs for an image of 28×28.
    """
    import torch

    from tiny_mnist.data.datasets import MNIST
    from tiny_mnist.evaluation.predict import predict
    from tiny_mnist.runs.images import check_reads_digits
    from tiny_mnist.runs.network import load_network

    check_reads_digits(run, trust)
    module = load_network(run, trust)
    try:
        shape = predict(module, torch.zeros(1, 28, 28, dtype=torch.uint8), MNIST.info).shape
    except Exception as error:  # whatever a user's network raises
        reason = one_line(error)[:200]
        raise UserError(f"the network of {run} does not read images of 28×28: {reason}") from error
    if shape != (1, 10):
        raise UserError(
            f"the network of {run} gives {list(shape)} for an image instead of [1, 10], the "
            "log-probabilities of ten digits"
        )
    return module


def module_network(module: "nn.Module") -> Network:
    """A PyTorch module from normalised images to log-probabilities, to predict with."""
    import torch

    from tiny_mnist.data.datasets import MNIST
    from tiny_mnist.evaluation.predict import predict

    def network(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 10"]:
        return predict(module, torch.from_numpy(images), MNIST.info).numpy()

    return network


Source = tuple[str, Callable[[], LoadedImage]]
"""A picture's name, and what reads it or raises `UserError`."""


def predict_images(
    sources: Iterable[Source], network: Network, keep_pictures: bool = False
) -> Iterator[ImagePrediction]:
    """Read each picture in turn; the network is called once for each batch of pictures.

    Args:
        sources: at most `BATCH_SIZE` of them are taken ahead of the predictions.
        network: a function from images to log-probabilities.
        keep_pictures: whether each prediction holds its picture, which may have megabytes.
    """
    enlarge_pillow_blocks()
    remaining = iter(sources)
    detect = partial(detect_source, keep_picture=keep_pictures)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(remaining, BATCH_SIZE)):
            # Pillow warns of odd metadata and of sizes that are checked here. Filters of warnings
            # belong to the whole process: the threads of the pool must not set them, and they are
            # put back before the caller goes on at the yield below.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"PIL\.")
                opened = list(pool.map(detect, batch))
            images = [digit.image for _, digits, _ in opened for digit in digits]
            stack = np.stack(images) if images else np.zeros((0, 28, 28), np.uint8)
            log_probs = iter(network(stack) if images else ())
            for (name, _), (picture, digits, error) in zip(batch, opened, strict=True):
                found = [combine_predictions(digit, np.exp(next(log_probs))) for digit in digits]
                yield ImagePrediction(name, picture, found, error)


def combine_predictions(digit: Digit, probabilities: Float32[ndarray, "10"]) -> DigitPrediction:
    """A digit with the probabilities of all networks together."""
    combined = combine_networks(
        digit.image,
        probabilities,
        digit.verifier_log_probs[:10],
        digit.row_log_probs,
        CUT if digit.is_row_cut else WHOLE,
    )
    reliability = float(np.exp(digit.verifier_log_probs[combined.argmax()]))
    return DigitPrediction(
        digit.box, digit.image, combined, digit.row, reliability, digit.count_probability
    )


def detect_source(
    source: Source, keep_picture: bool = False
) -> tuple[LoadedImage | None, list[Digit], str]:
    """A picture, if it is kept, and its digits, or what is wrong with it."""
    try:
        picture = source[1]()
        digits = [scale_digit_box(digit, picture.scale) for digit in find_digits(picture.pixels)]
        return picture if keep_picture else None, digits, ""
    except UserError as error:
        return None, [], str(error)


def scale_digit_box(digit: Digit, scale: float) -> Digit:
    """The digit with its box in pixels of the file."""
    return digit._replace(box=Box(*(round(edge * scale) for edge in digit.box)))
