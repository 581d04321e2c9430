"""Rebuild the trained network of a run from its checkpoint."""

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from tiny_mnist.config.trust import check_trusted
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder, find_trained_checkpoint

PREFIX = "network."  # of the network's weights in the checkpoint of a LightningModule


def load_network(run: RunFolder | Path, trust: bool = False) -> nn.Module:
    """Rebuild the trained network, in evaluation mode and on the CPU, from a run's last checkpoint.

    It takes normalised images, [n, 1, 28, 28] for the networks of this package, and returns
    log-probabilities, [n, classes]. Class and arguments are those of the checkpoint's `model` node.

    Args:
        run: the run folder.
        trust: whether the checkpoint may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: no checkpoint, a damaged one, one of a class that is not trusted or cannot be
            built, or weights that do not fit the class or are not finite.
    """
    path = find_trained_checkpoint(run.path if isinstance(run, RunFolder) else run)
    checkpoint = read_checkpoint(path)
    settings = checkpoint.get("hyper_parameters")
    model = settings.get("model") if isinstance(settings, dict) else None
    if not isinstance(model, dict) or "_target_" not in model:
        raise UserError(f"{path} does not say of which class its network is")
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
    if not trust:
        check_trusted({"model": model}, path)
        # On the meta device no memory is allocated: a stranger's width may be anything.
        check_shapes(build(model, path, "meta"), weights, path)
    network = build(model, path, "cpu")
    check_shapes(network, weights, path)
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise UserError(f"{path} holds NaN or infinite weights: its training diverged")
    network.load_state_dict(weights)
    return network.eval()


def build(model: dict[str, Any], path: Path, device: str) -> nn.Module:
    """Instantiate a saved `model` node on a device.

    Raises:
        UserError: its class cannot be imported or refuses its arguments, or is not a network.
    """
    try:
        with torch.device(device):
            network = instantiate(model)
    except Exception as error:  # whatever the class raises for arguments that were edited
        cause = error.__cause__ or error
        raise UserError(
            f"the network of {path}, {model['_target_']}, cannot be built: {one_line(cause)[:200]}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{model['_target_']} in {path} is not a torch.nn.Module")
    return network


def check_shapes(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Check that a network has exactly the tensors of a checkpoint.

    Raises:
        UserError: names the first that is missing, unknown or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{path} does not fit its class {type(network).__name__}: {name} is "
                f"{found.get(name, 'missing')} instead of {expected.get(name, 'missing')}"
            )
