"""Early stopping that a resumed run takes into account."""

import lightning.pytorch as pl
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import TrainerFn

from tiny_mnist.errors import UserError


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's callback, for runs that are resumed after it has decided to stop.

    Lightning saves the decision in the checkpoint and does not act on it: a run that was killed
    between its last epoch and its end would train one epoch more than an uninterrupted run.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before the first step if the checkpoint says so."""
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide by the metrics of the evaluation.

        Raises:
            UserError: the monitored one is not among them.
        """
        fitting = trainer.state.fn is TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and self.monitor not in trainer.callback_metrics:
            there = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"EarlyStopping: monitor={self.monitor} is not measured, but {there}")
        super().on_validation_end(trainer, pl_module)
