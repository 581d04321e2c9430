"""Where TensorBoard's files are written."""

from pathlib import Path

import pytest

from tiny_mnist.training.callbacks.tensorboard import CurveLogger


@pytest.mark.parametrize("name", ["~root", "$HOME", "[bold]"])
def test_a_run_folder_with_an_odd_name_gets_all_event_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = CurveLogger(name)
    logger.log_metrics({"epoch": 0.0, "train_loss": 1.0, "learning_rate": 0.1}, step=0)
    logger.finalize("success")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len([*(tmp_path / name).rglob("events.*")]) == 2
