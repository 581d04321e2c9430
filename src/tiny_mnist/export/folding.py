"""A network as a list of convolutions and one linear layer, with everything else folded in.

Each batch norm is folded into the convolution before it, and the normalisation of the images into
the first. No convolution pads, so both are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn, zeros
from torch.nn.utils import fuse_conv_bn_eval

from tiny_mnist.data.datasets import DatasetInfo
from tiny_mnist.data.transforms import SIDE
from tiny_mnist.errors import UserError


class UnsupportedLayerError(UserError):
    """The network has a layer that cannot be folded; the message names it."""


@dataclass(frozen=True)
class ConvLayer:
    """Convolution without padding → ReLU → max pool."""

    weight: Float[Tensor, "out in kernel kernel"]
    bias: Float[Tensor, " out"]
    pool: int = 1
    """Side and stride of the max pool; 1 for none."""

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return self.weight.shape[-1]

    def output_side(self, side: int) -> int:
        """Side of the output, for a square input of this side."""
        return (side - self.kernel + 1) // self.pool


@dataclass(frozen=True)
class FoldedNetwork:
    """Convolutions, then a linear layer and a log-softmax; takes grey values of 0 to 255."""

    convs: tuple[ConvLayer, ...]
    weight: Float[Tensor, "classes features"]
    bias: Float[Tensor, " classes"]

    @property
    def sides(self) -> list[int]:
        """Side of each convolution's square input, and of the last one's output."""
        sides = [SIDE]
        for conv in self.convs:
            sides.append(conv.output_side(sides[-1]))
        return sides

    def channels_last_weight(self) -> Float[Tensor, "classes features"]:
        """The weights of the linear layer for an input [row, column, channel]."""
        side = self.sides[-1]
        return self.weight.reshape(len(self.weight), -1, side, side).permute(0, 2, 3, 1).flatten(1)


def fold(network: nn.Module, info: DatasetInfo) -> FoldedNetwork:
    """Fold a sequence of convolutions, batch norms, ReLUs, max pools and one linear layer.

    Args:
        network: a network in evaluation mode.
        info: the dataset that it was trained on; says how images are normalised.

    Raises:
        UnsupportedLayerError: the network has anything else.
    """
    convs: list[ConvLayer] = []
    linear: nn.Linear | None = None
    last_conv: nn.Conv2d | None = None  # as long as only a batch norm may follow it
    activated = True
    for name, layer in named_layers(network):
        match layer:
            case nn.Conv2d() if linear is None and activated and is_plain(layer):
                bias = layer.bias
                if bias is None:
                    bias = zeros(layer.out_channels, device=layer.weight.device)
                convs.append(ConvLayer(layer.weight, bias))
                last_conv, activated = layer, False
                continue
            case nn.BatchNorm2d() if last_conv is not None and layer.running_mean is not None:
                fused = fuse_conv_bn_eval(last_conv, layer)
                assert fused.bias is not None
                convs[-1] = ConvLayer(fused.weight, fused.bias)
            case nn.MaxPool2d() if convs and convs[-1].pool == 1 and pool_side(layer):
                # Before or after the ReLU, which is monotone, gives the same numbers.
                convs[-1] = replace(convs[-1], pool=pool_side(layer))
            case nn.ReLU() if convs and linear is None:
                activated = True
            case nn.Linear() if convs and linear is None and activated:
                linear = layer
            case nn.LogSoftmax() if linear is not None:
                pass
            case nn.Flatten() | nn.Identity() | nn.Dropout() | nn.Dropout2d():
                pass
            case _:
                raise unsupported(name, layer)
        last_conv = None
    if linear is None or not convs:
        raise UnsupportedLayerError(f"{type(network).__name__} has no convolution or linear layer")
    first = convs[0]
    weight, bias = first.weight.detach(), first.bias.detach()
    convs[0] = replace(
        first,
        weight=weight / (255 * info.std),
        bias=bias - weight.sum(dim=(1, 2, 3)) * (info.mean / info.std),
    )
    convs = [replace(c, weight=c.weight.detach().cpu(), bias=c.bias.detach().cpu()) for c in convs]
    linear_bias = zeros(linear.out_features) if linear.bias is None else linear.bias.detach().cpu()
    return FoldedNetwork(tuple(convs), linear.weight.detach().cpu(), linear_bias)


def named_layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested sequences in the order in which they are applied.

    Raises:
        UnsupportedLayerError: a module with children is not a sequence.
    """
    children = list(module.named_children())
    if not children:
        yield name, module
    elif isinstance(module, nn.Sequential):
        for key, child in children:
            yield from named_layers(child, f"{name}.{key}".lstrip("."))
    else:
        raise unsupported(name, module)


def unsupported(name: str, layer: nn.Module) -> UnsupportedLayerError:
    """The error that names a layer on one line."""
    what = type(layer).__name__ if any(layer.children()) else " ".join(str(layer).split())
    return UnsupportedLayerError(
        f"layer {name or 'network'}, {what}, is not supported: only a sequence of unpadded "
        "convolutions, batch norms, ReLUs, max pools and one linear layer is; "
        "--format onnx and safetensors take any network"
    )


def is_plain(conv: nn.Conv2d) -> bool:
    """Whether a kernel is square, and there is no padding, stride, dilation or group."""
    height, width = conv.kernel_size
    return (
        height == width
        and conv.padding in ((0, 0), 0, "valid")
        and (conv.stride, conv.dilation, conv.groups) == ((1, 1), (1, 1), 1)
    )


def pool_side(pool: nn.MaxPool2d) -> int:
    """Side of a pool's windows if they are squares that lie side by side, otherwise 0."""
    side = pool.kernel_size
    side_by_side = (pool.stride, pool.padding, pool.dilation, pool.ceil_mode) == (side, 0, 1, False)
    return side if isinstance(side, int) and side_by_side else 0
