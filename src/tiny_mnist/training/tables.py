"""What a person sees in the terminal: the network, the progress, the table at the end."""

from collections.abc import Iterable
from typing import Any

import torch
from rich import get_console, reconfigure
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import Row

CONSOLE: dict[str, Any] = {"highlight": False}  # numbers are not coloured


def network_table(network: nn.Module) -> Table:
    """Each layer of a TinyCNN with its output (height×width×channels) and parameters."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("Block")
    table.add_column("Layers")
    table.add_column("Output", justify="right")
    table.add_column("Parameters", justify="right")
    for row in network_rows(network):
        table.add_row(*row)
    table.add_row("", "", "total", f"{parameter_count(network):,}", style="bold")
    return table


def network_rows(network: nn.Module) -> list[tuple[str, str, str, str]]:
    """(block, layers, output shape, parameters), with the lines of the original's architecture."""
    rows = [("input", "grey image", "28×28×1", "")]
    features = torch.zeros(1, 1, 28, 28, device=next(network.parameters()).device)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for name, block in network.named_children():
            label = name
            for layer in block.modules():
                if any(layer.children()):
                    continue
                features = layer(features)
                match layer:
                    case nn.Conv2d():
                        size = "×".join(map(str, layer.kernel_size))
                        text = f"Conv2d({layer.in_channels}→{layer.out_channels}, {size})"
                        text += " → BatchNorm → ReLU"
                    case nn.MaxPool2d():
                        text = f"MaxPool2d({layer.kernel_size}×{layer.kernel_size})"
                    case nn.Linear():
                        text = f"Linear({layer.in_features}→{layer.out_features})"
                    case nn.LogSoftmax():
                        text = "LogSoftmax"
                    case nn.BatchNorm2d():
                        block_, text, shape, count = rows[-1]
                        rows[-1] = (block_, text, shape, f"{count} + {parameter_count(layer)}")
                        continue
                    case _:  # ReLU and Flatten stand in the lines of their neighbours
                        continue
                own = parameter_count(layer)
                rows.append((label, text, shape_text(features), f"{own:,}" if own else ""))
                label = ""
    network.train(was_training)
    return rows


def shape_text(features: Tensor) -> str:
    """Height×width×channels of the output for one image, as the original writes it."""
    channels, *sides = features.shape[1:]
    return "×".join(map(str, (*sides, channels)))


def summary_table(rows: Iterable[Row], split: str) -> str:
    """The original's closing table; `split` names the images that each epoch was evaluated on."""
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


def make_console() -> Console:
    """The one console of the program, or a plain stream of at least 100 columns when piped.

    Lightning's bar draws on Rich's global console: only what is printed there stays above it.
    """
    reconfigure(**CONSOLE)
    console = get_console()
    if not console.is_terminal:
        console.width = max(console.width, 100)
    return console
