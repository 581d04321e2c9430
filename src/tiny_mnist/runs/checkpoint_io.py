"""Checkpoints: written whole or not at all, read as plain data only."""

import io
import signal
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from tiny_mnist.errors import UserError
from tiny_mnist.system.atomic_files import whole_file
from tiny_mnist.system.signals import Interrupted, Signals


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, moved into place only once they are on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the one of that name before it is kept as `previous.ckpt`."""
        content = io.BytesIO()  # PyTorch hides what is wrong with a file; the file itself says it
        torch.save(checkpoint, content)
        with whole_file(Path(path), previous=previous(Path(path))) as file:
            file.write(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with `read_checkpoint`."""
        return read_checkpoint(Path(path))


class Saver(Checkpoint):
    """Saves at the end of every epoch, every so many steps within it, and when told to stop.

    Args:
        path: the checkpoint.
        every: steps between two checkpoints within an epoch; None for none.
        signals: those that tell to stop; held back until the state can be saved.
    """

    def __init__(self, path: Path, every: int | None, signals: Signals) -> None:
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
        stop = self.told_to_stop(trainer)
        if stop or (self.every and self.steps % self.every == 0):
            self.save(trainer, stop)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch."""
        self.steps = trainer.global_step
        self.save(trainer, self.told_to_stop(trainer))

    def told_to_stop(self, trainer: pl.Trainer) -> bool:
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


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name("previous.ckpt")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU as tensors and plain values; code in it is never run.

    Raises:
        UserError: absent, damaged, not a checkpoint, or holding more than plain data.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch does not look at the checksums in it
            if damaged := archive.testzip():
                raise UserError(f"{path} is damaged: the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except UserError:
        raise
    except Exception as error:  # torch.load raises many kinds for what is not a checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint of plain data: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path} is not a checkpoint of a training run: it has no state_dict")
    return content
