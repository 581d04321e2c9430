"""The baseline without convolutions trains, and can be used, like the shipped network."""

import csv
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from typer.testing import CliRunner

from support.program import SMALL
from tiny_mnist.cli import app
from tiny_mnist.errors import UserError
from tiny_mnist.models import MLP, TinyCNN, parameter_count
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def run(compose: Compose, mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of the network, with a checkpoint within its last epoch."""
    folder = RunFolder(tmp_path_factory.mktemp("mlp"))
    config = compose("model=mlp", *SMALL, "checkpoint_every=7")
    folder.configuration.parent.mkdir()
    OmegaConf.save(config, folder.configuration)
    train(config, folder.path)
    return folder


def test_it_has_about_as_many_parameters_as_the_convolutions() -> None:
    assert parameter_count(MLP()) == 9_550 <= parameter_count(TinyCNN())
    log_probs = MLP(num_classes=7)(torch.randn(3, 1, 28, 28))
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(3))
    assert log_probs.shape == (3, 7)


def test_a_layer_without_units_is_refused_in_one_line(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hidden=0 should be at least 1"):
        train(compose("model=mlp", "model.hidden=0", *SMALL), tmp_path)


def test_it_resumes_to_the_same_bits(run: RunFolder, compose: Compose) -> None:
    whole = run.read_summary()["weights_sha256"]
    assert run.read_summary()["parameters"] == 9_550
    run.last_checkpoint.unlink()  # there is one more, from within the last epoch
    run.summary.unlink()
    train(compose("model=mlp", *SMALL, "checkpoint_every=7"), run.path, resume=True)
    assert run.read_summary()["weights_sha256"] == whole


def test_it_is_told_from_the_other_network(run: RunFolder, small_run: RunFolder) -> None:
    done = CliRunner().invoke(app, ["compare", str(run.path), str(small_run.path)])
    assert done.exit_code == 0, done.output
    assert "MLP" in done.output
    assert "TinyCNN" in done.output


def test_it_is_exported_to_onnx_and_gives_the_same_results(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    done = CliRunner().invoke(app, ["export", str(run.path), "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert "100.00 % read like PyTorch" in done.output
    images = torch.randint(256, (5, 28, 28), dtype=torch.uint8)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"images": images.numpy()})
    assert found.shape == (5, 10)
    assert isinstance(load_network(run), MLP)


@pytest.mark.slow
def test_it_is_evaluated(run: RunFolder, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(run.path), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.html").stat().st_size > 10_000
    with run.metrics.open() as file:
        accuracy = float(list(csv.DictReader(file))[-1]["test_accuracy"])
    assert f"{accuracy:.2f} %" in done.output
