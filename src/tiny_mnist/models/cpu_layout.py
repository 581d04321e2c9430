"""Train a network in the blocked memory layout of oneDNN, PyTorch's library for CPUs.

In this layout, the channels of a pixel lie together in one vector register, for batch norm, pooling
and ReLU too. The layout is applied from outside with hooks, so the network knows nothing of it and
the names of its weights stay as they are.
"""

import platform
from typing import Any

import torch
from torch import Tensor, nn

SUPPORTED = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU)
"""Layers that oneDNN can train on a blocked tensor."""


def use_onednn_layout(network: nn.Module) -> bool:
    """Run the convolutional part of a network in oneDNN's layout while it trains on an x86 CPU.

    Args:
        network: changed in place if it is an `nn.Sequential` that begins with children made of
            `SUPPORTED` layers, followed by others. Any other network is left as it is.

    Returns:
        Whether the layout will be used.
    """
    children = [*network.children()] if isinstance(network, nn.Sequential) else []
    tail = next((n for n, child in enumerate(children) if not is_supported(child)), 0)
    if not tail:
        return False
    children[0].register_forward_pre_hook(to_blocked)
    children[tail].register_forward_pre_hook(to_dense)
    return True


def is_supported(module: nn.Module) -> bool:
    """Whether a module consists of `SUPPORTED` layers, in sequence, alone.

    Some of their options are not implemented for a blocked tensor.
    """
    match module:
        case nn.Sequential():
            return all(map(is_supported, module))
        case nn.Conv2d():
            has_option = module.padding_mode != "zeros"
        case nn.BatchNorm2d():
            has_option = not module.affine
        case nn.MaxPool2d():
            has_option = module.dilation not in (1, (1, 1)) or module.return_indices
        case _:
            has_option = False
    return type(module) in SUPPORTED and not has_option


def to_blocked(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the input of a module that trains."""
    images, *others = inputs
    return (images.to_mkldnn(), *others) if module.training and fits_onednn(images) else inputs


def to_dense(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the input of a module back."""
    features, *others = inputs
    return (features.to_dense(), *others) if features.is_mkldnn else inputs


def fits_onednn(images: Tensor) -> bool:
    """Whether the layout can be used: on x86, in single precision, with gradients."""
    return (
        images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()
        and platform.machine() in ("x86_64", "AMD64")
    )
