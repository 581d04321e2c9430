"""What the terminal shows before and after training: the network, and the metrics of all epochs."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from torch import Tensor, nn

from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import Row
from tiny_mnist.training.checks import IMAGE_SHAPE, run_on_zeros

MERGED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU)
"""Layers that stand in the row of the one before them."""


def network_table(network: nn.Module, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> Table:
    """Each layer of a network with its output (height×width×channels) and parameters.

    Lightning's ModelSummary lists modules; this table has the lines of the original's architecture.
    """
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("Block")
    table.add_column("Layers")
    table.add_column("Output", justify="right")
    table.add_column("Parameters", justify="right")
    for row in network_rows(network, image_shape):
        table.add_row(*row)
    table.add_row("", "", "total", f"{parameter_count(network):,}", style="bold")
    return table


def network_rows(
    network: nn.Module, image_shape: tuple[int, ...] = IMAGE_SHAPE
) -> list[tuple[str, str, str, str]]:
    """(block, layers, output shape, parameters), with the lines of the original's architecture.

    A network that does not take images of that shape has one row with its name.
    """
    rows = [("input", "image", shape_text((1, *image_shape)), "")]
    blocks = {layer: name for name, block in network.named_children() for layer in block.modules()}

    def add(layer: nn.Module, inputs: Any, output: Any) -> None:
        own, block = parameter_count(layer), blocks.get(layer, "")
        label = "" if any(row[0] == block for row in rows) else block
        if isinstance(layer, MERGED) and len(rows) > 1:
            first, text, shape, count = rows[-1]
            count = f"{count} + {own:,}" if own else count
            rows[-1] = (first, f"{text} → {type(layer).__name__.rstrip('123d')}", shape, count)
        elif not isinstance(layer, nn.Flatten):
            shape = shape_text(output.shape) if isinstance(output, Tensor) else ""
            rows.append((label, layer_text(layer), shape, f"{own:,}" if own else ""))

    leaves = [layer for layer in network.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(add) for layer in leaves]
    output = run_on_zeros(network, image_shape)  # raises nothing
    for handle in handles:
        handle.remove()
    return rows if output is not None else [("", type(network).__name__, "", "")]


def layer_text(layer: nn.Module) -> str:
    """A layer by its name and sizes."""
    match layer:
        case nn.Conv2d():
            size = "×".join(map(str, layer.kernel_size))
            return f"Conv2d({layer.in_channels}→{layer.out_channels}, {size})"
        case nn.MaxPool2d():
            return f"MaxPool2d({layer.kernel_size}×{layer.kernel_size})"
        case nn.Linear():
            return f"Linear({layer.in_features}→{layer.out_features})"
        case _:
            return type(layer).__name__


def shape_text(shape: Sequence[int]) -> str:
    """Height×width×channels of one image of a batch, as the original writes it."""
    channels, *sides = shape[1:] or (1,)
    return "×".join(map(str, (*sides, channels)))


def summary_table(rows: Iterable[Row], split: str) -> str:
    """The original's closing table.

    Args:
        rows: the metrics of all epochs.
        split: the split that each epoch was evaluated on.
    """
    name = split.capitalize()
    header = (
        f" Epoch  Train_Loss  {name + '_Loss':>9}  Train_Accuracy  {name + '_Accuracy':>13}"
        "  Learning_Rate"
    )
    rule = "=" * len(header)
    lines = [rule, "TRAINING METRICS SUMMARY", rule, header]

    def cell(value: float | int | None, width: int, digits: int) -> str:
        return f"{'-' if value is None else f'{value:.{digits}f}':>{width}}"

    for row in rows:
        cells = (
            cell(row["epoch"], 6, 0),
            cell(row["train_loss"], 10, 6),
            cell(row[f"{split}_loss"], 9, 6),
            cell(row["train_accuracy"], 14, 6),
            cell(row[f"{split}_accuracy"], 13, 2),
            cell(row["learning_rate"], 13, 6),
        )
        lines.append("  ".join(cells))
    return "\n".join([*lines, rule])
