"""The log-probabilities that the pictures of a run are drawn from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.functional import nll_loss

from support.program import SMALL
from tiny_mnist.data import LabelledImages, MNISTDataModule
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network
from tiny_mnist.training import summary
from tiny_mnist.training.callbacks.predictions import Predictions
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.train import train


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        pytest.param(["data.val_size=500"], marks=pytest.mark.slow),
        pytest.param(
            ["trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"], marks=pytest.mark.slow
        ),
        ["trainer.limit_val_batches=2", "trainer.limit_test_batches=2"],
    ],
)
def test_pictures_show_the_evaluation_of_the_final_network(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    mnist: LabelledImages,
    monkeypatch: pytest.MonkeyPatch,
    overrides: list[str],
) -> None:
    drawn: list[Tensor] = []
    plot = summary.plots.plot_predictions

    def record(images: Tensor, labels: Tensor, log_probs: Tensor, names: Any) -> Any:
        drawn.append(log_probs)
        return plot(images, labels, log_probs, names)

    def refuse(*_: Any) -> None:
        raise AssertionError("the images were evaluated once more")

    monkeypatch.setattr(summary.plots, "plot_predictions", record)
    monkeypatch.setattr(summary, "predict", refuse)
    train(compose(*SMALL, *overrides), tmp_path)
    (log_probs,) = drawn
    run = RunFolder(tmp_path)
    result, count = run.read_summary(), len(log_probs)
    assert count == result["test_images"]
    labels = mnist.test_labels[:count]
    assert float(nll_loss(log_probs, labels)) == pytest.approx(result["test_loss"], rel=1e-4)
    again = predict(load_network(run), mnist.test_images[:count], mnist.info)
    assert torch.allclose(log_probs, again, atol=1e-3)


def test_an_evaluation_within_the_epoch_is_not_that_of_the_final_network(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[Tensor] = []

    def record(*arguments: Any) -> Tensor:
        evaluated.append(predict(*arguments))
        return evaluated[-1]

    monkeypatch.setattr(summary, "predict", record)
    train(compose(*SMALL, "+trainer.val_check_interval=0.7"), tmp_path)
    assert len(evaluated) == 1


def test_outputs_for_data_without_pictures_are_not_kept() -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module, kept = LitClassifier(TinyCNN(), eval_split="test"), Predictions()
    for data, batches in ((pl.LightningDataModule(), 0), (MNISTDataModule(), 2)):
        trainer.datamodule = data
        kept.on_validation_start(trainer, module)
        for _ in range(2):
            kept.on_validation_batch_end(trainer, module, torch.zeros(4, 10), None, 0)
        assert len(kept.batches) == batches
    assert kept.log_probs_after(1) is None, "evaluated before any step"
    log_probs = kept.log_probs_after(0)
    assert log_probs is not None
    assert log_probs.shape == (8, 10)
