"""What a person sees in the terminal: the network, the progress, the table at the end."""

from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich import get_console, reconfigure
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from torch import Tensor, nn

from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import Row
from tiny_mnist.training.lit_module import Classifier, LossAndAccuracy, Split

CONSOLE: dict[str, Any] = {"highlight": False}  # numbers are not coloured
REFRESH_HZ = 4
METRICS_EVERY = 25  # steps between two readings of the running metrics: each waits for the device


class ProgressBar(RichProgressBar):
    """Lightning's Rich bar with running loss and accuracy, read now and then."""

    def __init__(self, epoch_split: Split) -> None:
        theme = RichProgressBarTheme(metrics_format=".4f")
        super().__init__(REFRESH_HZ, leave=False, theme=theme, console_kwargs=CONSOLE)
        self.epoch_split = epoch_split

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True  # what is over is told by the line of its epoch

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Narrow enough, with the metrics, for a terminal of 80 columns."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]

    @property
    def validation_description(self) -> str:
        """Name the images that are looked at."""
        return f"Evaluating ({self.epoch_split})"

    @property
    def test_description(self) -> str:
        """Name the images that are looked at."""
        return "Evaluating (test)"

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar every few steps only: it costs as much as the optimizer."""
        if batch_idx % METRICS_EVERY == 0 or trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Running loss and accuracy on the training images of the epoch."""
        assert isinstance(pl_module, Classifier)
        return running(pl_module.train_metrics)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Show loss and accuracy of the epoch's evaluation, too, which Lightning's bar does not."""
        super().on_validation_batch_end(trainer, pl_module, *args, **kwargs)
        self.describe(pl_module, self.epoch_split, self.val_progress_bar_id)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Show loss and accuracy of the final evaluation."""
        super().on_test_batch_end(trainer, pl_module, *args, **kwargs)
        self.describe(pl_module, "test", self.test_progress_bar_id)

    def describe(self, pl_module: pl.LightningModule, split: Split, task: TaskID | None) -> None:
        """Put the running metrics of a split into the description of its bar."""
        assert isinstance(pl_module, Classifier)
        if self.progress is not None and task is not None:
            metrics = running(pl_module.split_metrics(split))
            text = " ".join(
                f"{name}: {value if isinstance(value, str) else f'{value:.4f}'}"
                for name, value in metrics.items()
            )
            self.progress.update(task, description=f"Evaluating ({split}) {text}")


def running(metrics: LossAndAccuracy) -> dict[str, int | str | float | dict[str, float]]:
    """Loss and accuracy so far, as the bar shows them; nothing before the first image."""
    images = int(metrics.images)
    if not images:
        return {}
    accuracy = 100 * int(metrics.correct) / images
    return {"loss": float(metrics.loss_sum) / images, "accuracy": f"{accuracy:.2f} %"}


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
