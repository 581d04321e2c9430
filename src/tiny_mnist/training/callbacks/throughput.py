"""Measure the time spent in training steps, and count their images."""

from time import perf_counter
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn

from tiny_mnist.training.callbacks.epoch_end import EpochEndCallback
from tiny_mnist.training.lit_module import LitClassifier


class Throughput(EpochEndCallback):
    """Counts seconds and images of training, without evaluations, over all parts of a run."""

    def __init__(self) -> None:
        self.images = 0
        """Number of images of all finished epochs, over all processes."""
        self.seconds_before = 0.0
        self.running_since: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds spent in training until now."""
        running = 0.0 if self.running_since is None else perf_counter() - self.running_since
        return self.seconds_before + running

    @property
    def images_per_second(self) -> float:
        """Mean speed of training."""
        return self.images / self.seconds if self.seconds else 0.0

    def start(self) -> None:
        """Start the clock."""
        self.running_since = perf_counter()

    def stop(self) -> None:
        """Stop the clock."""
        self.seconds_before, self.running_since = self.seconds, None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start within an epoch, in a run that is resumed there."""
        self.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start at the beginning of an epoch."""
        self.start()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the evaluation out."""
        self.stop()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on after an evaluation within training."""
        if trainer.state.fn is TrainerFn.FITTING and not trainer.sanity_checking:
            self.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop, and count the images of the epoch."""
        assert isinstance(pl_module, LitClassifier)
        self.stop()
        self.images += int(pl_module.results["train_images"])

    def state_dict(self) -> dict[str, Any]:
        """Seconds and images so far."""
        return {"seconds": self.seconds, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds_before, self.images = state_dict["seconds"], state_dict["images"]
