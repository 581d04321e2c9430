"""Checks that need PyTorch: whether what a configuration names can be built, and fits."""

import inspect
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, get_object
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.extras import require
from tiny_mnist.models.evaluation_mode import evaluation_mode
from tiny_mnist.system.memory import memory_limit
from tiny_mnist.training.lit_module import build_components, make_scheduler

LOGGER_EXTRAS = {pl.loggers.WandbLogger: "wandb", pl.loggers.MLFlowLogger: "mlflow"}
"""The extras of this package that Lightning's loggers need."""
IMAGE_SHAPE = (1, 28, 28)
"""Channels, height and width of images, unless the data module has another `image_shape`."""

PLACEHOLDER_NUM_CLASSES = 10
MAX_LOG_SUM = 0.01  # logarithm of the sum of probabilities, up to which it counts as 0


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
                found = find_class(f"{group}.{name}", node["_target_"])
                for logger, extra in LOGGER_EXTRAS.items():
                    if issubclass(found, logger):
                        require(extra, f"logger.{name}")


def find_class(key: str, target: str) -> type:
    """The class of a dotted path.

    Raises:
        UserError: it cannot be imported; names the key that asks for it.
    """
    try:
        return get_class(target)
    except Exception as error:  # whatever the user's module raises
        raise UserError(f"{key}._target_={target}: {one_line(error)}") from error


def fill_num_classes(config: Mapping[str, Any], num_classes: int | None) -> dict[str, Any]:
    """A resolved configuration whose network has as many outputs as the data have classes.

    `model.num_classes` is added where the class of the network takes it and has another default.

    Args:
        config: the configuration; it is not changed.
        num_classes: the number of classes of the data; None if they do not say.
    """
    model = config["model"]
    try:
        parameters = inspect.signature(get_object(model["_target_"])).parameters
    except Exception:  # whatever the user's module raises; instantiating it names the reason
        return dict(config)
    known = model.get("num_classes") is not None or num_classes is None
    if known or "num_classes" not in parameters or parameters["num_classes"].default == num_classes:
        return dict(config)
    return {**config, "model": {**model, "num_classes": num_classes}}


def check_num_classes(
    network: nn.Module, num_classes: int | None, image_shape: tuple[int, ...] = IMAGE_SHAPE
) -> None:
    """Check that a network has one output for each class of the data.

    Args:
        network: a network that takes images of that shape.
        num_classes: the number of classes of the data; None if they do not say.
        image_shape: channels, height and width.

    Raises:
        UserError: it has more or fewer, or returns something else than log-probabilities.
    """
    output = run_on_zeros(network, image_shape)
    if output is None:
        return
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise UserError("the network must return one tensor, log-probabilities [batch, classes]")
    if output.isfinite().all() and output.logsumexp(dim=1).abs().max() > MAX_LOG_SUM:
        raise UserError(
            "the network must return log-probabilities, and its outputs are none; a last layer "
            "nn.LogSoftmax(1) makes them so"
        )
    if num_classes is None or output.shape[-1] == num_classes:
        return
    raise UserError(
        f"the network has {output.shape[-1]} outputs, and the data have {num_classes} classes: a "
        "class with an argument num_classes is given their number"
    )


def check_optim(config: Mapping[str, Any]) -> None:
    """Check that network, optimizer and schedule can be built, and that the optimizer can step.

    Raises:
        UserError: they refuse a setting, or the optimizer cannot train this network.
    """
    try:
        # How many classes there are is not known before the data are read, and does not matter.
        parts = build_components(fill_num_classes(config, PLACEHOLDER_NUM_CLASSES))
    except InstantiationException as error:
        raise UserError(instantiation_failure(error)) from error
    if not isinstance(parts["network"], nn.Module):
        kind = type(parts["network"]).__name__
        raise UserError(f"model._target_ should name a torch.nn.Module, and gives a {kind}")
    for parameter in parts["network"].parameters():
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer = parts["optimizer"](parts["network"].parameters())
        scheduler = parts["scheduler"] and make_scheduler(parts["scheduler"], optimizer, 100)
        optimizer.step(lambda: torch.zeros(()))
        if scheduler:
            scheduler.step()
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"optim cannot be built: {type(error).__name__}: {one_line(error)}"
        ) from error


def check_monitors(callbacks: list[pl.Callback], eval_split: str) -> None:
    """Check that no callback decides anything by the test images.

    Args:
        callbacks: the callbacks that the user chose.
        eval_split: the split that is evaluated after each epoch: "val" or "test".

    Raises:
        UserError: one monitors a metric of the test images, or of held-out images where none are.
    """
    for callback in callbacks:
        monitor = str(getattr(callback, "monitor", ""))
        if monitor.startswith("test_") or (monitor.startswith("val_") and eval_split == "test"):
            raise UserError(
                f"{type(callback).__name__} with monitor={monitor} needs held-out images, because "
                "nothing is selected on the test images: say data.val_size=5000, and monitor "
                "val_loss or val_accuracy"
            )


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
        network: the network, on the CPU.
        images: the number of images of one step.
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


def check_last_batch(
    network: nn.Module, images: int, batch_size: int, processes: int, max_batches: int | float
) -> None:
    """Check that the last batch of an epoch has enough images for every process.

    Args:
        network: batch normalisation needs two images in each process; other layers need one.
        images: the number of images of an epoch.
        batch_size: the number of images of a step, over all processes.
        processes: the number of processes that share each batch.
        max_batches: the value of `Trainer.limit_train_batches`: a number, or a fraction of all.

    Raises:
        UserError: there are too few.
    """
    batches = -(-images // batch_size)
    used = max_batches if isinstance(max_batches, int) else int(max_batches * batches)
    last = images - (batches - 1) * batch_size if used >= batches else batch_size
    is_normalized = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    needed = 2 if is_normalized else 1
    if last // processes < needed:
        reason = "batch normalisation needs 2" if is_normalized else "1 is needed"
        raise UserError(
            f"data.batch_size={batch_size} leaves {last} of {images:,} training images for the "
            f"last batch, and {reason} in each of {processes} process(es); choose another "
            "batch_size or train_size"
        )


def run_on_zeros(network: nn.Module, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> Tensor | None:
    """Run a network on one black image, without gradients, in evaluation mode.

    Returns:
        Its output; None if it does not take images of that shape.
    """
    parameter = next(network.parameters(), torch.zeros(()))
    image = torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad(), evaluation_mode(network):
            output: Tensor = network(image)
    except Exception:  # whatever a user's network raises
        return None
    return output
