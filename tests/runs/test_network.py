"""Rebuilding a network from a checkpoint that may come from a stranger."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tiny_mnist.errors import UserError
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network

TARGET = "tiny_mnist.models.tiny_cnn.TinyCNN"


class Small(nn.Module):
    """A network of a user's own, outside the package."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.Linear(hidden, 10))


def save(folder: Path, network: nn.Module, model: Any) -> RunFolder:
    """Write the checkpoint of a run."""
    run = RunFolder(folder)
    run.checkpoints.mkdir(exist_ok=True)
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    content = {"state_dict": state, "hyper_parameters": {"model": model}}
    torch.save(content, run.last_checkpoint)
    return run


@pytest.mark.parametrize("width", [3, 8])
def test_the_saved_network_is_rebuilt_in_evaluation_mode(tmp_path: Path, width: int) -> None:
    network = TinyCNN(width=width)
    run = save(tmp_path, network, {"_target_": TARGET, "width": width})
    loaded = load_network(run)
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    run.last_checkpoint.rename(run.previous_checkpoint)
    assert isinstance(load_network(run.path), TinyCNN), "killed between the two renames"


def test_a_class_of_the_users_own_is_rebuilt_when_it_is_trusted(tmp_path: Path) -> None:
    target = f"{Small.__module__}.{Small.__qualname__}"
    run = save(tmp_path, Small(hidden=5), {"_target_": target, "hidden": 5})
    with pytest.raises(UserError, match="names the class") as refused:
        load_network(run)
    assert target in str(refused.value)
    loaded = load_network(run, trust=True)
    assert isinstance(loaded, Small)
    assert loaded.layers[1].out_features == 5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"_target_": TARGET, "width": 4}, "does not fit its class TinyCNN"),
        ({"_target_": TARGET, "width": 10**7}, "does not fit its class TinyCNN"),
        ({"_target_": TARGET, "width": 10**30}, "cannot be built"),
        ({"_target_": TARGET, "width": "many"}, "cannot be built"),
        ({"_target_": TARGET, "deep": 3}, "cannot be built"),
        ({"_target_": "os.system", "command": "true"}, "names the class os.system"),
        ({"_target_": TARGET, "width": {"_target_": "os.getpid"}}, "names the class os.getpid"),
        ({"_target_": "torch.optim.SGD", "params": []}, "cannot be built"),
        ({"width": 8}, "does not say of which class"),
        ([1], "does not say of which class"),
        ("none", "does not say of which class"),
        (None, "does not say of which class"),
    ],
)
def test_a_checkpoint_of_something_else_gets_one_line(
    tmp_path: Path, model: Any, message: str
) -> None:
    run = save(tmp_path, TinyCNN(), model)
    with pytest.raises(UserError, match=message) as refused:
        load_network(run)
    assert "\n" not in str(refused.value)
