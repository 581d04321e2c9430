"""Reading digits in pictures with a trained network; PyTorch is imported only for another run."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from tiny_mnist.errors import UserError
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.detect import Digit, find_digits
from tiny_mnist.inference.image_io import Pixels
from tiny_mnist.inference.mnist_format import Box

if TYPE_CHECKING:
    import tiny_mnist.models.tiny_cnn

BATCH = 128  # pictures; only memory and the smoothness of a progress bar depend on it

Network = Callable[[UInt8[ndarray, "n 28 28"]], Float32[ndarray, "n 10"]]
"""From images as in MNIST, light on black, to log-probabilities."""


class Read(NamedTuple):
    """One digit of a picture, and what it was taken for."""

    box: Box
    """Where, in pixels of the picture."""
    image: UInt8[ndarray, "28 28"]
    """What the network saw."""
    probabilities: Float32[ndarray, "10"]

    @property
    def ranking(self) -> list[int]:
        """The ten digits, the likeliest first."""
        return [int(digit) for digit in np.argsort(-self.probabilities, kind="stable")]

    @property
    def digit(self) -> int:
        """The likeliest digit."""
        return self.ranking[0]

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
        }


class Answer(NamedTuple):
    """What is in one file."""

    name: str
    picture: Pixels | None
    """None where the file could not be read."""
    digits: list[Read]
    """From left to right."""
    error: str = ""
    """One line, where the file could not be read."""

    @property
    def status(self) -> str:
        """Which case this is: "digit", "no digit", "several digits" or "error"."""
        if self.error:
            return "error"
        return ("no digit", "digit")[len(self.digits)] if len(self.digits) < 2 else "several digits"

    def as_json(self) -> dict[str, Any]:
        """Plain values; `digit` and its like are null unless there is exactly one."""
        only = self.digits[0].as_json() if len(self.digits) == 1 else {}
        keys = ("digit", "confidence", "second", "second_confidence", "box", "probabilities")
        return {
            "file": self.name,
            "status": self.status,
            **{key: only.get(key) for key in keys},
            "digits": [digit.as_json() for digit in self.digits],
            "error": self.error or None,
        }


def pretrained_network() -> Network:
    """The network that comes with the package, in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # so small a network gains nothing from more
    session = onnxruntime.InferenceSession(
        str(pretrained.GRAPH), options, providers=["CPUExecutionProvider"]
    )

    def network(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 10"]:
        (log_probs,) = session.run(None, {session.get_inputs()[0].name: images})
        return np.asarray(log_probs)

    return network


def network_of(run: Path, trust: bool = False) -> Network:
    """The network of a run folder, in PyTorch.

    Raises:
        UserError: there is none.
    """
    from tiny_mnist.runs import load_network

    return in_pytorch(load_network(run, trust))


def in_pytorch(trained: "tiny_mnist.models.tiny_cnn.TinyCNN") -> Network:
    """A network as it was trained, to read with."""
    import torch

    from tiny_mnist.evaluation.predict import predict

    def network(images: UInt8[ndarray, "n 28 28"]) -> Float32[ndarray, "n 10"]:
        return predict(trained, torch.from_numpy(images)).numpy()

    return network


Source = tuple[str, Callable[[], Pixels]]
"""A picture's name, and what reads its pixels or raises `UserError`."""


def read(sources: Iterable[Source], network: Network) -> Iterator[Answer]:
    """Answer for each picture in turn; the network is called once for each batch of pictures."""
    remaining = iter(sources)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(remaining, BATCH)):
            opened = list(pool.map(prepared, batch))
            images = [digit.image for _, digits, _ in opened for digit in digits]
            stack = np.stack(images) if images else np.zeros((0, 28, 28), np.uint8)
            log_probs = iter(network(stack) if images else ())
            for (name, _), (picture, digits, error) in zip(batch, opened, strict=True):
                found = [Read(d.box, d.image, np.exp(next(log_probs))) for d in digits]
                yield Answer(name, picture, found, error)


def prepared(source: Source) -> tuple[Pixels | None, list[Digit], str]:
    """The picture and its digits, or what is wrong with it."""
    try:
        picture = source[1]()
        return picture, find_digits(picture), ""
    except UserError as error:
        return None, [], str(error)
