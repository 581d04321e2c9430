"""Save checkpoints at the end of epochs, within them, and on interruption."""

import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from tiny_mnist.system.signals import DeferredInterrupt, Interrupted


class StepCheckpoint(Checkpoint):
    """Saves at the end of every epoch, every so many steps within it, and when told to stop.

    Args:
        path: the checkpoint.
        every: steps between two checkpoints within an epoch; None for none.
        signals: those that tell to stop; held back until the state can be saved.
    """

    def __init__(self, path: Path, every: int | None, signals: DeferredInterrupt) -> None:
        self.path, self.every, self.signals = path, every, signals
        self.steps = 0
        self.begun = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold signals back: from here on, they are answered between steps."""
        self.steps, self.begun = trainer.global_step, True
        self.signals.hold()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save within an epoch, after a whole step; after the last, its end is near."""
        if trainer.global_step == self.steps or trainer.is_last_batch:
            return
        self.steps = trainer.global_step
        stop = self.stop_requested(trainer)
        if stop or (self.every and self.steps % self.every == 0):
            self.save(trainer, stop)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch."""
        self.steps = trainer.global_step
        self.save(trainer, self.stop_requested(trainer))

    def stop_requested(self, trainer: pl.Trainer) -> bool:
        """Whether any of the processes was: all must stop at the same step."""
        told = self.signals.received is not None
        return bool(trainer.strategy.reduce_boolean_decision(told, all=False))

    def save(self, trainer: pl.Trainer, stop: bool) -> None:
        """Write the checkpoint, then stop if that is asked."""
        trainer.save_checkpoint(self.path, weights_only=False)
        if stop:
            raise Interrupted(self.signals.received or signal.SIGTERM)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All is saved: nothing is to be held back any more."""
        self.signals.release()
        if self.signals.received is not None:
            raise Interrupted(self.signals.received)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Nothing more will be saved."""
        self.signals.release()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which does not stop an evaluation for them."""
        self.signals.listen()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same."""
        self.signals.listen()
