"""When checkpoints are saved: after epochs, within them and on interruption.

`tiny_mnist.runs.checkpoint_io` writes and reads the files.
"""

import signal
from typing import Any

import lightning.pytorch as pl

from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.recovery import event_file_sizes
from tiny_mnist.system.signals import DeferredInterrupt, Interrupted
from tiny_mnist.training.callbacks.epoch_end import EpochEndCallback
from tiny_mnist.training.environment import describe_environment


class StepCheckpoint(EpochEndCallback):
    """Saves at the end of every epoch, every so many steps within it, and when told to stop.

    Args:
        run: the run folder.
        every_n_steps: steps between two checkpoints within an epoch; None for none.
        signals: the signals that request a stop; deferred until the state can be saved.
    """

    def __init__(
        self, run: RunFolder, every_n_steps: int | None, signals: DeferredInterrupt
    ) -> None:
        self.run, self.every_n_steps, self.signals = run, every_n_steps, signals
        self.last_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Defer signals: from here on, they are answered between steps."""
        self.last_step = trainer.global_step
        self.signals.hold()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save within an epoch, after a whole step; its last step is left to the epoch's end."""
        step = trainer.global_step
        if step == self.last_step or trainer.is_last_batch:
            return
        self.last_step = step
        stop = self.stop_requested(trainer)
        if stop or (self.every_n_steps and step % self.every_n_steps == 0):
            self.save(trainer, stop)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch."""
        self.last_step = trainer.global_step
        self.save(trainer, self.stop_requested(trainer))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what an exact resumption needs: the environment, and the length of the curves.

        A resumed run truncates the TensorBoard files to that length.
        """
        checkpoint["environment"] = describe_environment()
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            checkpoint["curves"] = event_file_sizes(self.run)

    def stop_requested(self, trainer: pl.Trainer) -> bool:
        """Whether any of the processes was told to stop: all must stop at the same step."""
        is_signalled = self.signals.received is not None
        return bool(trainer.strategy.reduce_boolean_decision(is_signalled, all=False))

    def save(self, trainer: pl.Trainer, stop: bool) -> None:
        """Write the checkpoint, then stop if that is asked."""
        trainer.save_checkpoint(self.run.last_checkpoint, weights_only=False)
        if stop:
            raise Interrupted(self.signals.received or signal.SIGTERM)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Answer signals at once again: everything is saved."""
        self.signals.release()
        if self.signals.received is not None:
            raise Interrupted(self.signals.received)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Answer signals at once again: nothing more will be saved."""
        self.signals.release()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which does not stop an evaluation for them."""
        self.signals.listen()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, as for the validation."""
        self.signals.listen()
