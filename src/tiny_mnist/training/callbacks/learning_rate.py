"""Record the learning rate of every step."""

from time import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from tiny_mnist.training.callbacks.epoch_end import EpochEndCallback

TAG = "learning_rate"


class LearningRates(EpochEndCallback):
    """Records the learning rate of every step, and hands it to the loggers epoch by epoch.

    Lightning's LearningRateMonitor logs within each step, which slows a short step down.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []
        """Learning rates of all steps so far."""
        self.times: list[float] = []
        """Start times of the steps that the loggers do not have yet, in seconds since 1970."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the rate, once for all batches whose gradients are accumulated to one step."""
        if trainer.global_step == len(self.rates):
            self.rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))
            self.times.append(time())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand the rates of the epoch to the loggers."""
        self.log_rates(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Hand over the rates that the checkpoint will hold."""
        self.log_rates(trainer)

    def log_rates(self, trainer: pl.Trainer) -> None:
        """Hand all new rates to the loggers."""
        first = len(self.rates) - len(self.times)
        for logger in trainer.loggers:
            for step, moment in enumerate(self.times, start=first):
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_scalar(TAG, self.rates[step], step, walltime=moment)
                else:
                    logger.log_metrics({TAG: self.rates[step]}, step)
        self.times = []

    def state_dict(self) -> dict[str, Any]:
        """The rates so far."""
        return {"rates": torch.tensor(self.rates, dtype=torch.float64)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rates."""
        self.rates = state_dict["rates"].tolist()
