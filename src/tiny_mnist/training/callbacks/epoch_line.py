"""Print one line for each epoch."""

import logging
from time import perf_counter

import lightning.pytorch as pl
from rich import get_console

from tiny_mnist.training.callbacks.epoch_end import EpochEndCallback
from tiny_mnist.training.lit_module import LitClassifier

log = logging.getLogger(__name__)


class EpochLine(EpochEndCallback):
    """Prints and logs loss and accuracy of each epoch, as in `Epoch  1/10  train … test …`."""

    def __init__(self) -> None:
        self.started = 0.0
        self.evaluated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock within an epoch, in a run that is resumed there."""
        self.started = perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started, self.evaluated = perf_counter(), False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch was evaluated."""
        self.evaluated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        assert isinstance(pl_module, LitClassifier)
        if not trainer.is_global_zero:
            return
        parts = [f"Epoch {trainer.current_epoch + 1:>2}/{trainer.max_epochs}"]
        for split in ("train", pl_module.eval_split) if self.evaluated else ("train",):
            loss, accuracy = (pl_module.results[f"{split}_{n}"] for n in ("loss", "accuracy"))
            parts.append(f"{split} {loss:.4f} {accuracy:5.2f} %")
        parts.append(f"{perf_counter() - self.started:.1f} s")
        line = "  ".join(parts)
        log.info(line)
        get_console().print(line)
