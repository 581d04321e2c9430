"""Schedule and metrics."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.errors import UserError
from tiny_mnist.models import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.checks import check_optim
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.metrics import LossAndAccuracy

# The last column of the original's table.
ORIGINAL_LEARNING_RATES = [
    "0.100000", "0.262710", "0.587919", "0.750000", "0.713370",
    "0.611043", "0.463285", "0.299361", "0.151739", "0.049657",
]  # fmt: skip


def learning_rates(config: DictConfig, steps: int) -> list[float]:
    """The rate before each step of a run, and after the last."""
    classifier = LitClassifier(
        TinyCNN(), instantiate(config.optim.optimizer), instantiate(config.optim.scheduler)
    )
    classifier._trainer = SimpleNamespace(estimated_stepping_batches=steps)
    made = classifier.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_learning_rates_equal_the_originals_to_six_digits(
    compose: Callable[..., DictConfig],
) -> None:
    rates = learning_rates(compose(), steps=4690)
    assert [f"{rate:.6f}" for rate in rates[:4690:469]] == ORIGINAL_LEARNING_RATES


@pytest.mark.parametrize("steps", [10, 705, 14_070])
def test_a_run_of_any_length_is_one_whole_cycle(
    compose: Callable[..., DictConfig], steps: int
) -> None:
    rates = learning_rates(compose("optim.max_lr=0.3"), steps)
    assert rates[0] == pytest.approx(0.3 / 7.5)
    assert max(rates) == pytest.approx(0.3, rel=1e-4)
    assert rates[-2] == pytest.approx(0.3 / 7.5 / 7.5)


def test_a_schedule_that_follows_a_metric_is_refused(compose: Callable[..., DictConfig]) -> None:
    config = resolve_config(compose())
    config["optim"]["scheduler"] = {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True,
    }  # fmt: skip
    with pytest.raises(UserError, match="ReduceLROnPlateau needs a metric"):
        check_optim(config)


def batch(correct: int, images: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of which so many are right, and labels."""
    labels = torch.arange(images) % 10
    predicted = labels.clone()
    predicted[correct:] = (predicted[correct:] + 1) % 10
    return torch.nn.functional.one_hot(predicted, 10).float().log_softmax(dim=1), labels


def test_metrics_are_exact_means_over_images_of_uneven_batches() -> None:
    metrics = LossAndAccuracy()
    metrics.update(torch.tensor(1.0), *batch(correct=120, images=128))
    metrics.update(torch.tensor(2.0), *batch(correct=31, images=32))
    assert metrics.compute() == {"loss": 192 / 160, "accuracy": 100 * 151 / 160, "images": 160}


def test_metrics_begin_anew_after_a_reset() -> None:
    metrics = LossAndAccuracy()
    metrics.update(torch.tensor(9.0), *batch(correct=0, images=8))
    metrics.reset()
    metrics.update(torch.tensor(1.0), *batch(correct=8, images=8))
    assert metrics.compute() == {"loss": 1.0, "accuracy": 100.0, "images": 8}


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_the_last_rate_stays_when_a_run_is_prolonged(
    compose: Callable[..., DictConfig], anneal: str
) -> None:
    config = compose(f"optim.scheduler.anneal_strategy={anneal}")
    classifier = LitClassifier(
        TinyCNN(), instantiate(config.optim.optimizer), instantiate(config.optim.scheduler)
    )
    classifier._trainer = SimpleNamespace(estimated_stepping_batches=10)
    made = classifier.configure_optimizers()
    made["optimizer"].step()
    rates = []
    for _ in range(20):
        rates += made["lr_scheduler"]["scheduler"].get_last_lr()
        classifier.lr_scheduler_step(made["lr_scheduler"]["scheduler"], None)
    assert rates[9] == pytest.approx(0.75 / 7.5 / 7.5)
    assert set(rates[9:]) == {rates[9]}


def test_the_module_works_with_a_trainer_of_ones_own(small_run: RunFolder, tmp_path: Path) -> None:
    module = LitClassifier.load_from_checkpoint(small_run.last_checkpoint)
    images, labels = torch.randn(8, 1, 28, 28), torch.arange(8)
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning advises more workers
        trainer.fit(module, loader, loader)
        (validated,) = trainer.validate(module, loader, verbose=False)
        (tested,) = trainer.test(module, loader, verbose=False)
    assert {*validated} == {"val_loss", "val_accuracy", "val_images"}
    assert tested["test_images"] == 8
    assert tested["test_loss"] == pytest.approx(validated["val_loss"])
    columns = {*(tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")}
    assert {"train_loss", "val_accuracy", "test_loss"} <= columns
