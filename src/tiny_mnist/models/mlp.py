"""Baseline without convolutions, about as many parameters as `TinyCNN`."""

from collections import OrderedDict

from torch import nn


class MLP(nn.Sequential):
    """One hidden layer, from normalised images [batch, 1, 28, 28] to log-probabilities.

    A network of your own needs no more than this. Any `nn.Module` from images to log-probabilities
    [batch, num_classes] will do.

    Args:
        hidden: the units of the hidden layer; 12 give 9,550 parameters.
        num_classes: the number of classes.

    Raises:
        ValueError: the layer would have no units.
    """

    def __init__(self, hidden: int = 12, num_classes: int = 10) -> None:
        if hidden < 1:
            raise ValueError(f"hidden={hidden} should be at least 1")
        super().__init__(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=nn.Linear(28 * 28, hidden),
                relu=nn.ReLU(),
                head=nn.Linear(hidden, num_classes),
                log_softmax=nn.LogSoftmax(dim=1),
            )
        )
