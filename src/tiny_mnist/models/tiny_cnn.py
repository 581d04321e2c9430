"""The original's network: six convolutions, 9,594 parameters, log-probabilities out."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn


class TinyCNN(nn.Sequential):
    """Classifier of images: six convolutions and a linear layer.

    Input: normalised images [batch, 1, 28, 28]. Output: log-probabilities [batch, num_classes].

    Args:
        width: the channels of the first convolution, at least 1; all others have twice as many.
            The original's 8 gives 9,594 parameters.
        num_classes: the number of classes.
    """

    def __init__(self, width: int = 8, num_classes: int = 10) -> None:
        wide = 2 * width
        super().__init__(
            OrderedDict(
                block1=nn.Sequential(
                    conv_block(1, width, kernel=3),  # 28×28 → 26×26
                    conv_block(width, wide, kernel=3, pool=True),  # → 24×24 → 12×12
                ),
                block2=nn.Sequential(
                    conv_block(wide, wide, kernel=3),  # → 10×10
                    conv_block(wide, wide, kernel=3, pool=True),  # → 8×8 → 4×4
                ),
                block3=nn.Sequential(
                    conv_block(wide, wide, kernel=3),  # → 2×2
                    conv_block(wide, wide, kernel=2),  # → 1×1
                ),
                head=nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(wide, num_classes),
                    nn.LogSoftmax(dim=1),
                ),
            )
        )

    def forward(self, input: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch classes"]:
        """Log-probabilities of the classes for normalised images."""
        features: Tensor = input
        for block in self:
            features = block(features)
        return features


def conv_block(
    channels_in: int, channels_out: int, kernel: int, pool: bool = False
) -> nn.Sequential:
    """Convolution → batch norm → ReLU (→ 2×2 max pool)."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def parameter_count(network: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
