"""A run, and the folder that it leaves."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support.outcomes import read_metrics
from support.program import SMALL
from tiny_mnist.data.datamodule import MNISTDataModule
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.loaders import EVALUATION_BATCH
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.metrics import loss_and_accuracy
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.metadata import weights_sha256
from tiny_mnist.runs.network import load_network
from tiny_mnist.training.callbacks.metrics_csv import MetricsCsv
from tiny_mnist.training.summary import short_settings
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]


def table(run: RunFolder) -> list[dict[str, str]]:
    with run.metrics.open() as file:
        return list(csv.DictReader(file))


def summary(run: RunFolder) -> dict[str, Any]:
    return json.loads(run.summary.read_text())


def test_metrics_have_one_row_an_epoch_in_the_promised_columns(small_run: RunFolder) -> None:
    rows = table(small_run)
    assert list(rows[0]) == [
        "epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "learning_rate",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.1)
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert read_metrics(small_run)[1]["test_accuracy"] == float(rows[1]["test_accuracy"])


def test_the_initial_weights_depend_on_the_seed_alone(compose: Compose, tmp_path: Path) -> None:
    """Whatever the program builds before, the network draws the first random numbers."""
    config = compose(*SMALL, "trainer.max_epochs=1", "optim.max_lr=1e-30", "callbacks=none")
    train(config, tmp_path / "run")
    torch.manual_seed(config.seed)
    fresh, trained = TinyCNN(), load_network(RunFolder(tmp_path / "run"))
    for expected, weights in zip(fresh.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)


def test_the_summary_describes_the_run(small_run: RunFolder) -> None:
    found = summary(small_run)
    last = read_metrics(small_run)[-1]
    assert {key: found[key] for key in last} == last
    expected = {"parameters": 9594, "seed": 0, "epochs": 2, "steps": 20, "training_images": 1000}
    assert {key: found[key] for key in expected} == expected
    assert found["test_images"] == 10_000
    assert found["config"]["data"]["seed"] == "${seed}", "it follows another setting"
    assert found["config"]["optim"]["scheduler"]["anneal_strategy"] == "cos"
    assert found["images_per_second"] > 0
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_the_commit_is_that_of_the_code_that_trained(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may commit, or change a file, while a long run trains."""
    asked: list[bool] = []

    def git_commit() -> str:
        asked.append(RunFolder(tmp_path).last_checkpoint.exists())
        return "abc"

    monkeypatch.setattr("tiny_mnist.training.train.git_commit", git_commit)
    train(compose(*SMALL, "trainer.max_epochs=1", "trainer.limit_val_batches=1"), tmp_path)
    assert asked == [False]
    assert summary(RunFolder(tmp_path))["commit"] == "abc"


def test_the_checkpoint_is_plain_data_that_rebuilds_the_network(
    small_run: RunFolder, mnist: LabelledImages
) -> None:
    checkpoint = torch.load(small_run.last_checkpoint, weights_only=True)
    assert checkpoint["hyper_parameters"]["model"]["width"] == 8
    network = load_network(small_run)
    loss, accuracy = loss_and_accuracy(
        predict(network, mnist.test_images, mnist.info), mnist.test_labels
    )
    found = summary(small_run)
    assert weights_sha256(network) == found["weights_sha256"]
    assert accuracy == pytest.approx(found["test_accuracy"], abs=0.011)  # layout changes rounding
    assert loss == pytest.approx(found["test_loss"], rel=1e-4)


def test_pictures_show_something(small_run: RunFolder) -> None:
    for path in (small_run.curves, small_run.predictions, small_run.confusion):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert min(pixels.shape[:2]) > 300
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_tensorboard_has_curves_rates_pictures_and_hparams(small_run: RunFolder) -> None:
    def events(folder: Path) -> EventAccumulator:
        return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()

    rows = read_metrics(small_run)
    for split in ("train", "test"):
        curves = events(small_run.path / split)
        for tag, column in (("loss", "loss"), ("accuracy (%)", "accuracy")):
            points = [(point.step, point.value) for point in curves.Scalars(tag)]
            wanted = [(row["epoch"], pytest.approx(row[f"{split}_{column}"])) for row in rows]
            assert points == wanted
    root = events(small_run.path)
    assert [point.step for point in root.Scalars("learning_rate")] == list(range(20))
    pictures = {"confusion_matrix", "curves", "predictions_visualization"}
    assert set(root.Tags()["images"]) == pictures
    (final,) = root.Scalars("accuracy (%)")
    assert final.value == pytest.approx(rows[-1]["test_accuracy"])
    hparams = root.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for name in (b"max_lr", b"optimizer", b"Adagrad", b"batch_size", b"seed"):
        assert name in hparams


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(
    compose: Compose, small_run: RunFolder, tmp_path: Path
) -> None:
    train(compose(*SMALL), tmp_path / "same")
    train(compose(*SMALL, "seed=1"), tmp_path / "other")
    same, other = RunFolder(tmp_path / "same"), RunFolder(tmp_path / "other")
    assert same.metrics.read_bytes() == small_run.metrics.read_bytes()
    assert summary(same)["weights_sha256"] == summary(small_run)["weights_sha256"]
    assert summary(other)["weights_sha256"] != summary(small_run)["weights_sha256"]


def test_a_run_on_warped_images_goes_on_to_the_same_bits(compose: Compose, tmp_path: Path) -> None:
    config = compose("experiment=best", *SMALL, "checkpoint_every=7")
    run = RunFolder(tmp_path)
    run.configuration.parent.mkdir()
    OmegaConf.save(config, run.configuration)
    train(config, tmp_path)
    whole = summary(run)["weights_sha256"]
    run.last_checkpoint.unlink()  # there is one more, from within the last epoch
    run.summary.unlink()
    train(config, tmp_path, resume=True)
    assert summary(run)["weights_sha256"] == whole


@pytest.mark.slow
def test_loaders_that_are_made_anew_begin_each_later_epoch_at_its_first_batch(
    compose: Compose, tmp_path: Path
) -> None:
    reload = "++trainer.reload_dataloaders_every_n_epochs=1"
    config = compose(*SMALL, reload, "checkpoint_every=7", "trainer.max_epochs=1")
    run = RunFolder(tmp_path)
    run.configuration.parent.mkdir()
    OmegaConf.save(config, run.configuration)
    train(config, tmp_path)
    run.last_checkpoint.unlink()  # there is one more, from within the epoch
    config.trainer.max_epochs = 2
    train(config, tmp_path, resume=True)
    found = summary(run)
    assert (found["steps"], found["training_images"]) == (20, 1000)


@pytest.fixture
def to_be_prolonged(compose: Compose, tmp_path: Path) -> DictConfig:
    """The configuration of a finished run in `tmp_path`, with one more epoch."""
    config = compose(*SMALL, "trainer.max_epochs=1")
    run = RunFolder(tmp_path)
    run.configuration.parent.mkdir()
    OmegaConf.save(config, run.configuration)
    train(config, tmp_path)
    config.trainer.max_epochs = 2
    return config


def test_an_error_after_restoring_is_not_blamed_on_the_checkpoint(
    to_be_prolonged: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(MNISTDataModule, "train_dataloader", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train(to_be_prolonged, tmp_path, resume=True)


@pytest.mark.parametrize("state", [{"batches": 3}, {"epoch": "0", "batches": 3}])
def test_a_checkpoint_with_another_loader_state_is_refused(
    to_be_prolonged: DictConfig, tmp_path: Path, state: dict[str, Any]
) -> None:
    path = RunFolder(tmp_path).last_checkpoint
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["MNISTDataModule"] = state
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="does not fit this run"):
        train(to_be_prolonged, tmp_path, resume=True)


def test_an_error_while_saving_is_not_blamed_on_a_checkpoint(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(MetricsCsv, "state_dict", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train(compose(*SMALL, "trainer.max_epochs=1"), tmp_path)


def test_held_out_images_are_evaluated_after_the_last_epoch_whatever_is_said(
    compose: Compose, tmp_path: Path
) -> None:
    """Else a sweep would have nothing but the test images to rank by."""
    rarely = ("data.val_size=500", "trainer.check_val_every_n_epoch=5")
    accuracy = train(compose(*SMALL, *rarely, "trainer.limit_test_batches=1"), tmp_path)
    run = RunFolder(tmp_path)
    assert [row["val_accuracy"] for row in read_metrics(run)] == [None, accuracy]
    assert summary(run)["val_accuracy"] == accuracy
    assert summary(run)["test_images"] == EVALUATION_BATCH


def test_held_out_images_are_evaluated_each_epoch_and_test_images_once(
    compose: Compose, tmp_path: Path
) -> None:
    accuracy = train(compose(*SMALL, "data.val_size=500"), tmp_path)
    run = RunFolder(tmp_path)
    first, last = table(run)
    assert list(first)[-2:] == ["val_loss", "val_accuracy"]
    assert first["test_loss"] == first["test_accuracy"] == ""
    assert float(last["test_accuracy"]) == summary(run)["test_accuracy"]
    assert float(last["val_accuracy"]) == accuracy
    assert accuracy * 5 == pytest.approx(round(accuracy * 5)), "a share of 500 images"
    assert not (tmp_path / "test").exists(), "no curve over the test images"
    events = EventAccumulator(str(tmp_path)).Reload()  # of the HPARAMS tab, which compares runs
    (held_out,) = events.Scalars("validation accuracy (%)")
    assert held_out.value == pytest.approx(accuracy)


def test_a_recipe_is_told_from_another_by_what_is_not_as_usual() -> None:
    usual = {"max_epochs": 3, "precision": "32-true", "gradient_clip_val": None, "devices": 1}
    assert short_settings({"trainer": usual}) == {"max_epochs": 3}
    other = usual | {"limit_train_batches": 20, "precision": "bf16-mixed"}
    assert short_settings({"trainer": other}) == {
        "max_epochs": 3, "limit_train_batches": 20, "precision": "bf16-mixed",
    }  # fmt: skip


def test_one_unaugmented_batch_is_learnt_by_heart(compose: Compose, tmp_path: Path) -> None:
    train(compose("debug=overfit", "trainer=cpu"), tmp_path)
    assert table(RunFolder(tmp_path))[-1]["train_accuracy"] == "100.0"


def test_another_optimizer_is_one_word_away(compose: Compose, tmp_path: Path) -> None:
    accuracy = train(compose(*SMALL, "optim=adamw", "data.train_size=4000"), tmp_path)
    assert accuracy > 80


def test_a_checkpoint_of_another_network_is_named(small_run: RunFolder, tmp_path: Path) -> None:
    checkpoint = torch.load(small_run.last_checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["width"] = 4
    other = RunFolder(tmp_path)
    other.checkpoints.mkdir()
    torch.save(checkpoint, other.last_checkpoint)

    with pytest.raises(UserError, match="does not fit its class TinyCNN"):
        load_network(other)
