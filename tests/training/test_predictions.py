"""The log-probabilities that the pictures of a run are drawn from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.functional import nll_loss

from support.program import SMALL
from tiny_mnist.data import LabelledImages
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network
from tiny_mnist.training import summary
from tiny_mnist.training.train import train


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.val_size=500"],
        ["trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"],
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
