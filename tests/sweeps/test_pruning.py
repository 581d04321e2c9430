"""The callback that reports the epochs of a trial to Optuna."""

from typing import Any
from unittest.mock import MagicMock

import lightning.pytorch as pl
import pytest
from lightning.pytorch.trainer.states import TrainerFn

from tiny_mnist.sweeps.job import TrialPruned
from tiny_mnist.sweeps.pruning import PruningCallback


class Trial:
    """Keeps what is reported, and would always be pruned."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, int]] = []

    def report(self, accuracy: float, epoch: int) -> None:
        """Keep it."""
        self.reports.append((accuracy, epoch))

    def should_prune(self) -> bool:
        """Whether the trial is to end."""
        return True


def trainer(epoch: int, function: TrainerFn) -> Any:
    return MagicMock(
        spec=pl.Trainer, callback_metrics={"val_accuracy": 90.0}, sanity_checking=False,
        current_epoch=epoch, max_epochs=3, state=MagicMock(fn=function),
    )  # fmt: skip


def test_an_evaluation_after_training_is_of_the_last_epoch_and_prunes_nothing() -> None:
    callback, module = PruningCallback(), MagicMock(spec=pl.LightningModule)
    callback.trial, callback.reported = Trial(), set()
    with pytest.raises(TrialPruned, match="after epoch 2"):
        callback.on_validation_end(trainer(1, TrainerFn.FITTING), module)
    callback.on_validation_end(trainer(2, TrainerFn.FITTING), module)
    # Lightning counts the finished epochs then; they may be fewer than were planned.
    callback.on_validation_end(trainer(2, TrainerFn.VALIDATING), module)
    callback.on_validation_end(trainer(3, TrainerFn.VALIDATING), module)
    assert [epoch for _, epoch in callback.trial.reports] == [2, 3, 2, 3]
