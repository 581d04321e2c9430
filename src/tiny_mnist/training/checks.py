"""Checks that need PyTorch: whether what a configuration names can be built, and fits."""

import inspect
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class
from torch import Tensor, nn

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.system.memory import memory_limit
from tiny_mnist.training.lit_module import components, make_scheduler

IMAGE_SHAPE = (1, 28, 28)
"""Channels, height and width of images, unless the data module has another `image_shape`."""


def check_classes(config: Mapping[str, Any]) -> None:
    """Check that all classes of a resolved configuration exist, and the Trainer's arguments.

    Raises:
        UserError: a class cannot be found, or the Trainer has no such argument.
    """
    known = inspect.signature(pl.Trainer).parameters
    for key in config["trainer"]:
        if key not in known and not key.startswith("_"):
            raise UserError(f"trainer.{key} is not an argument of Lightning's Trainer")
    find_class("data", config["data"]["_target_"])
    for group in ("callbacks", "logger"):
        for name, node in (config.get(group) or {}).items():
            if node:
                find_class(f"{group}.{name}", node["_target_"])


def find_class(key: str, target: str) -> None:
    """Check that a class can be imported.

    Raises:
        UserError: it cannot; names the key that asks for it.
    """
    try:
        get_class(target)
    except Exception as error:  # whatever the user's module raises
        raise UserError(f"{key}._target_={target}: {one_line(error)}") from error


def check_optim(config: Mapping[str, Any]) -> None:
    """Check that network, optimizer and schedule can be built, and that the optimizer can step.

    Raises:
        UserError: they refuse a setting, or the optimizer cannot train this network.
    """
    try:
        parts = components(config)
    except InstantiationException as error:
        raise UserError(instantiation_failure(error)) from error
    for parameter in parts["network"].parameters():
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer = parts["optimizer"](parts["network"].parameters())
        scheduler = parts["scheduler"] and make_scheduler(parts["scheduler"], optimizer, 100)
        optimizer.step(lambda: torch.zeros(()))
        if scheduler and not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step()
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"optim cannot be built: {type(error).__name__}: {one_line(error)}"
        ) from error


def instantiation_failure(error: InstantiationException) -> str:
    """What Hydra could not build, and why, in one line."""
    key = str(error).rpartition("full_key: ")[2].strip() if "full_key" in str(error) else ""
    reason = one_line(error.__cause__ or error).partition(" full_key:")[0]
    return f"{key}: {reason}" if key else reason


def check_memory(
    network: nn.Module, images: int, image_shape: tuple[int, ...] = IMAGE_SHAPE
) -> None:
    """Check that a training step fits into memory: otherwise the kernel would kill the process.

    Args:
        network: on the CPU.
        images: of one step.
        image_shape: channels, height and width.

    Raises:
        UserError: it does not fit.
    """
    outputs = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal outputs
        outputs += output.nbytes if isinstance(output, Tensor) else 0

    layers = [layer for layer in network.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        run_on_zeros(network, image_shape)
    finally:
        for handle in handles:
            handle.remove()
    needed, there = 2 * images * outputs, memory_limit()  # each output and its gradient
    if there is not None and needed > there:
        raise UserError(
            f"a step on {images} images needs about {needed >> 30} GiB of memory and there "
            f"are {there >> 30} GiB; choose a smaller data.batch_size or a smaller network"
        )


def run_on_zeros(network: nn.Module, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> bool:
    """Run a network on one black image, without gradients, in evaluation mode.

    Returns:
        Whether it takes images of that shape.
    """
    parameter = next(network.parameters(), torch.zeros(()))
    image = torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(image)
    except (IndexError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        network.train(was_training)
    return True
