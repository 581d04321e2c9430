"""Early stopping that a resumed run takes into account."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import TrainerFn
from rich import get_console

from tiny_mnist.errors import UserError


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's callback, for runs that are resumed after it has decided to stop.

    Lightning saves the decision in the checkpoint and does not act on it: a run that was killed
    between its last epoch and its end would train one epoch more than an uninterrupted run.

    Args:
        monitor: the metric to decide by, of held-out images or, as `train_loss`, of training.
        options: further arguments of Lightning's callback.
    """

    def __init__(self, monitor: str, **options: Any) -> None:
        if monitor.startswith("train_"):  # final after the evaluation
            options["check_on_train_epoch_end"] = True
        super().__init__(monitor, **options)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before the first step if the checkpoint says so."""
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True
            if trainer.is_global_zero:
                get_console().print(
                    f"Early stopping ended this run after epoch {self.stopped_epoch + 1}: it "
                    "trains no more"
                )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide by the metrics of the epoch.

        Raises:
            UserError: the monitored one is not among them.
        """
        if self._check_on_train_epoch_end:
            self.check_measured(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide by the metrics of the evaluation.

        Raises:
            UserError: the monitored one is not among them.
        """
        fitting = trainer.state.fn is TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not self._check_on_train_epoch_end:
            self.check_measured(trainer)
        super().on_validation_end(trainer, pl_module)

    def check_measured(self, trainer: pl.Trainer) -> None:
        """Check that there is something to decide by.

        Raises:
            UserError: the monitored metric is not logged.
        """
        if self.monitor not in trainer.callback_metrics:
            there = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"EarlyStopping: monitor={self.monitor} is not measured, but {there}")
