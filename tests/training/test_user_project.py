"""Classes of the user's own, outside this package, train, resume and load like the shipped ones."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from support.program import PROJECT, WAIT
from tiny_mnist.errors import UserError
from tiny_mnist.training.lit_module import LitClassifier

MODULE = """
    import lightning.pytorch as pl
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Network(nn.Module):
        def __init__(self, hidden):
            super().__init__()
            self.first, self.last = nn.Linear(64, hidden), nn.Linear(hidden, 3)

        def forward(self, images):
            return self.last(self.first(images.flatten(1)).relu()).log_softmax(dim=1)

    class Data(pl.LightningDataModule):
        image_shape = (1, 8, 8)

        def images(self, number, seed):
            labels = torch.arange(number) % 3
            noise = torch.randn(number, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
            return DataLoader(TensorDataset(noise + labels.view(-1, 1, 1, 1), labels), 20)

        def train_dataloader(self):
            return self.images(200, 0)

        def val_dataloader(self):
            return self.images(60, 1)

        def test_dataloader(self):
            return self.images(60, 2)

    class Optimizer(torch.optim.SGD):
        pass

    class Note(pl.Callback):
        def __init__(self, path):
            self.path = path

        def on_train_epoch_end(self, trainer, pl_module):
            with open(self.path, "a") as file:
                file.write(f"{trainer.current_epoch}\\n")

    class Log(pl.loggers.CSVLogger):
        pass
"""
OPTIONS = {
    "model": "_target_: my_project.Network\nhidden: 16",
    "data": "_target_: my_project.Data",
    "optim": (
        "optimizer: {_target_: my_project.Optimizer, _partial_: true, lr: 0.1}\n"
        "scheduler: {_target_: torch.optim.lr_scheduler.StepLR, _partial_: true, step_size: 5}\n"
        "interval: step"
    ),
    "callbacks": "note: {_target_: my_project.Note, path: note.txt}",
    "logger": "log: {_target_: my_project.Log, name: mine, version: ''}",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one module and one option for each group."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "my_project.py").write_text(textwrap.dedent(MODULE))
    for group, text in OPTIONS.items():
        (folder / "conf" / group).mkdir(parents=True)
        (folder / "conf" / group / "mine.yaml").write_text(text)
    return folder


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROJECT / "train.py"), *arguments], cwd=folder, timeout=WAIT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{folder}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_users_own_classes_train_resume_and_load(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [f"{group}=mine" for group in OPTIONS]
    arguments = ("--config-dir", "conf", *mine, "trainer=cpu", "trainer.max_epochs=3")
    done = program(project, *arguments, "hydra.run.dir=run")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert summary["val_accuracy"] > 50
    assert (summary["val_images"], summary["test_images"]) == (60, 60)
    assert (project / "note.txt").read_text().split() == ["0", "1", "2"]
    assert (project / "run" / "mine" / "metrics.csv").exists()

    done = program(project, "resume=run", "trainer.max_epochs=4")
    assert done.returncode == 1
    assert "my_project." in done.stderr, "a class that is not trusted is named"
    done = program(project, "resume=run", "trust=true", "trainer.max_epochs=4")
    assert done.returncode == 0, done.stderr
    assert json.loads((project / "run" / "summary.json").read_text())["epochs"] == 4

    checkpoint = project / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["environment"]["threads"] > 0
    monkeypatch.syspath_prepend(str(project))
    with pytest.raises(UserError, match="my_project"):
        LitClassifier.load_from_checkpoint(checkpoint)
    module = LitClassifier.load_from_checkpoint(checkpoint, trust=True)
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
