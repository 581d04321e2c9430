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


def end_epoch(callback: PruningCallback, epoch: int, evaluations: int = 1) -> None:
    """An epoch of training, counted from 0, with so many evaluations."""
    module, fitting = MagicMock(spec=pl.LightningModule), trainer(epoch, TrainerFn.FITTING)
    for _ in range(evaluations):
        callback.on_validation_end(fitting, module)
    callback.on_train_epoch_end(fitting, module)


def make_callback() -> PruningCallback:
    callback = PruningCallback()
    callback.trial = Trial()
    return callback


def test_each_epoch_that_was_evaluated_is_reported_once() -> None:
    callback = make_callback()
    callback.prune = False
    end_epoch(callback, 0, evaluations=2)
    end_epoch(callback, 1, evaluations=0)
    end_epoch(callback, 2)
    assert callback.trial.reports == [(90.0, 1), (90.0, 3)]


def test_an_evaluation_after_training_is_of_the_last_epoch_and_prunes_nothing() -> None:
    callback, module = make_callback(), MagicMock(spec=pl.LightningModule)
    with pytest.raises(TrialPruned, match="after epoch 2"):
        end_epoch(callback, 1)
    end_epoch(callback, 2)
    # Lightning counts the finished epochs then; they may be fewer than were planned.
    callback.on_validation_end(trainer(2, TrainerFn.VALIDATING), module)
    callback.on_validation_end(trainer(3, TrainerFn.VALIDATING), module)
    assert [epoch for _, epoch in callback.trial.reports] == [2, 3]
