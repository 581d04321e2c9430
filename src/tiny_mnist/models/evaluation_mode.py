"""Evaluate a network without changing the mode of any of its layers for good."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Context manager that puts a network into evaluation mode.

    Afterwards each layer has the mode that it had before: a network may hold layers that are frozen
    while the others train.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
