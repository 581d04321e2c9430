"""The options of the group `callbacks`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from support.outcomes import outcome, read_metrics
from support.program import SMALL
from tiny_mnist.comparison.grouping import find_runs, group_by_settings
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.metrics import loss_and_accuracy
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.metadata import weights_sha256
from tiny_mnist.runs.network import load_network
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]
STOPPING = (
    "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "trainer.max_epochs=9",
    "data.val_size=500", "callbacks.early_stopping.min_delta=10",
)  # fmt: skip
"""No loss falls by 10 after the first epoch, so that the second one is the last."""


def begin(config: DictConfig, folder: Path) -> RunFolder:
    run = RunFolder(folder)
    run.configuration.parent.mkdir(parents=True)
    OmegaConf.save(config, run.configuration)
    train(config, folder)
    return run


@pytest.fixture(scope="module")
def averaged(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of the moving average, with a checkpoint within its last epoch."""
    config = compose("callbacks=ema", *SMALL, "checkpoint_every=7")
    return begin(config, tmp_path_factory.mktemp("ema"))


def test_the_moving_average_is_what_is_evaluated_and_kept(
    averaged: RunFolder, small_run: RunFolder, mnist: LabelledImages
) -> None:
    summary, usual = averaged.read_summary(), small_run.read_summary()
    assert summary["weights_sha256"] != usual["weights_sha256"]
    assert summary["train_loss"] == usual["train_loss"], "the training itself is the same"
    network = load_network(averaged)
    assert weights_sha256(network) == summary["weights_sha256"]
    loss, accuracy = loss_and_accuracy(
        predict(network, mnist.test_images, mnist.info), mnist.test_labels
    )
    assert accuracy == pytest.approx(summary["test_accuracy"], abs=0.011)  # layout and rounding
    assert loss == pytest.approx(summary["test_loss"], rel=1e-4)
    assert summary["settings"]["decay"] == 0.99


def test_a_run_with_the_moving_average_resumes_to_the_same_bits(
    averaged: RunFolder, compose: Compose
) -> None:
    whole = outcome(averaged)
    averaged.last_checkpoint.unlink()  # there is one more, from within the last epoch
    averaged.summary.unlink()
    config = compose("callbacks=ema", *SMALL, "checkpoint_every=7")
    train(config, averaged.path, resume=True)
    resumed = outcome(averaged)
    for result in (whole, resumed):
        result.pop("images")
    assert resumed == whole


@pytest.mark.slow
def test_a_run_with_the_moving_average_that_was_killed_at_its_end_keeps_the_average(
    compose: Compose, tmp_path: Path
) -> None:
    config = compose("callbacks=ema", *SMALL, "data.val_size=500")
    run = begin(config, tmp_path)
    whole = run.read_summary()
    run.summary.unlink()  # all that was missing when it was killed after its last checkpoint
    train(config, tmp_path, resume=True)
    resumed = run.read_summary()
    for key in ("weights_sha256", "test_accuracy", "val_accuracy"):
        assert resumed[key] == whole[key]


def test_runs_with_and_without_the_moving_average_are_not_averaged(
    averaged: RunFolder, small_run: RunFolder
) -> None:
    groups = group_by_settings(find_runs([averaged.path, small_run.path]))
    assert sorted(len(group.runs) for group in groups) == [1, 1]
    assert any("callbacks.ema" in group.name for group in groups)


def test_early_stopping_ends_the_run_and_resumes_to_the_same_end(
    compose: Compose, tmp_path: Path
) -> None:
    config = compose(*SMALL, *STOPPING)
    run = begin(config, tmp_path)
    whole = outcome(run)
    assert whole["summary"]["epochs"] == 2
    assert len(read_metrics(run)) == 2
    run.summary.unlink()  # as if it had been killed after its last epoch
    train(config, tmp_path, resume=True)
    resumed = outcome(run)
    assert resumed["summary"] == whole["summary"]
    assert resumed["metrics"] == whole["metrics"]


@pytest.mark.slow
def test_early_stopping_may_decide_by_the_training_loss(compose: Compose, tmp_path: Path) -> None:
    monitor = ("callbacks.early_stopping.monitor=train_loss", "data.val_size=0")
    run = begin(compose(*SMALL, *STOPPING, *monitor), tmp_path)
    assert run.read_summary()["epochs"] == 2


@pytest.mark.slow
def test_prolonging_a_run_that_was_stopped_says_that_it_trains_no_more(
    compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose(*SMALL, *STOPPING)
    run = begin(config, tmp_path)
    assert "Early stopping ended this run" not in capsys.readouterr().out
    config.trainer.max_epochs = 12
    train(config, tmp_path, resume=True)
    assert "Early stopping ended this run after epoch 2: it trains no more" in " ".join(
        capsys.readouterr().out.split()
    )
    assert run.read_summary()["epochs"] == 2


def test_checkpoints_of_the_users_own_go_where_they_say_and_leave_the_runs_alone(
    compose: Compose, tmp_path: Path
) -> None:
    best = tmp_path / "new" / "folder"
    target = "+callbacks.best._target_=lightning.pytorch.callbacks.ModelCheckpoint"
    own = (target, f"+callbacks.best.dirpath={best}", "+callbacks.best.filename=newest")
    config = compose(*SMALL, *own, "++callbacks.best.enable_version_counter=false")
    train(config, tmp_path / "run")
    assert [path.name for path in best.iterdir()] == ["newest.ckpt"]
    run = RunFolder(tmp_path / "run")
    for path, step in ((run.previous_checkpoint, 10), (run.last_checkpoint, 20)):
        assert read_checkpoint(path)["global_step"] == step


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.val_size=0"], "needs held-out images"),
        (["callbacks.early_stopping.monitor=test_loss"], "nothing is selected on the test images"),
        (["callbacks.early_stopping.monitor=val_los"], "monitor=val_los is not measured, but"),
    ],
)
def test_early_stopping_on_anything_but_held_out_images_is_refused(
    compose: Compose, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(compose(*SMALL, *STOPPING, *overrides), tmp_path)
