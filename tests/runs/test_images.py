"""Which runs may be asked to read digits."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

import tiny_mnist
from tiny_mnist.data import FASHION_MNIST, FashionMNISTDataModule, IdxDataModule, MNISTDataModule
from tiny_mnist.errors import UserError
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.images import check_reads_digits

OWN_NETWORK = {"_target_": "tiny_mnist.models.tiny_cnn.TinyCNN", "width": 8}


class Turned(MNISTDataModule):
    """MNIST in a way of the user's own."""


class Letters(IdxDataModule):
    """Other images of 28×28."""


class Clothes(FashionMNISTDataModule):
    """Fashion-MNIST in a way of the user's own."""


class Disguised(MNISTDataModule):
    """Fashion-MNIST in a subclass of MNIST's data module."""

    dataset = FASHION_MNIST


class Pictures(pl.LightningDataModule):
    """Pictures in colour."""


class ThreeClasses(nn.Sequential):
    """A network with three outputs."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 3), nn.LogSoftmax(1))


class Coloured(nn.Sequential):
    """A network for pictures in colour."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 10, 28), nn.Flatten(), nn.LogSoftmax(1))


class Silent(nn.Module):
    """A network that gives no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> None:
        """Nothing."""


def target(chosen: type) -> str:
    """The name of a class in a configuration."""
    if chosen.__module__.startswith("tiny_mnist.data"):
        return f"tiny_mnist.data.{chosen.__name__}"
    return f"{chosen.__module__}.{chosen.__qualname__}"


def save(
    folder: Path, data: str, network: nn.Module | None = None, model: dict[str, Any] = OWN_NETWORK
) -> RunFolder:
    """Write the checkpoint of a run."""
    run = RunFolder(folder)
    run.checkpoints.mkdir(parents=True)
    state = (network or TinyCNN()).state_dict()
    content = {
        "state_dict": {f"network.{name}": tensor for name, tensor in state.items()},
        "hyper_parameters": {"model": model, "data": {"_target_": data}},
    }
    torch.save(content, run.last_checkpoint)
    return run


@pytest.mark.parametrize("chosen", [MNISTDataModule, Turned])
def test_a_network_of_mnist_may_read_digits(tmp_path: Path, chosen: type) -> None:
    run = save(tmp_path, target(chosen))
    check_reads_digits(run, trust=True)
    assert tiny_mnist.load(run.path, trust=True).run == run.path


@pytest.mark.parametrize(
    "chosen", [IdxDataModule, FashionMNISTDataModule, Letters, Clothes, Disguised, Pictures]
)
def test_a_network_of_other_images_may_not(tmp_path: Path, chosen: type) -> None:
    run = save(tmp_path, target(chosen))
    message = rf"was trained with {chosen.__name__}: .* trained on MNIST"
    with pytest.raises(UserError, match=message) as refused:
        check_reads_digits(run, trust=True)
    assert "\n" not in str(refused.value)


def test_classes_of_the_users_own_are_imported_only_if_they_are_trusted(tmp_path: Path) -> None:
    run = save(tmp_path, "no.such.module.Data")
    with pytest.raises(UserError, match=r"names the class no\.such\.module\.Data"):
        check_reads_digits(run)
    with pytest.raises(UserError, match="cannot be read"):
        check_reads_digits(run, trust=True)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (ThreeClasses, r"gives \[1, 3\] for an image instead of \[1, 10\]"),
        (Coloured, "does not read images of 28×28"),
        (Silent, "does not read images of 28×28"),
    ],
)
def test_a_network_without_ten_outputs_for_an_image_is_refused(
    tmp_path: Path, chosen: type[nn.Module], message: str
) -> None:
    data = target(MNISTDataModule)
    run = save(tmp_path, data, chosen(), {"_target_": target(chosen)})
    with pytest.raises(UserError, match=message) as refused:
        tiny_mnist.load(run.path, trust=True)
    assert "\n" not in str(refused.value)
