"""Fixtures of all tests."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from support.program import PROJECT, SMALL, TRAIN, Command
from tiny_mnist.data import MNIST, download
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.train import train


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the verified MNIST files, which are downloaded if absent."""
    root = download.default_root()
    download.load(root)
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: Path) -> download.Mnist:
    """All of MNIST."""
    return download.load(mnist_root)


@pytest.fixture(scope="session")
def mirror(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files of MNIST as mirrors have them."""
    folder = tmp_path_factory.mktemp("mirror")
    for file in MNIST.files:
        content = gzip.compress((mnist_root / file.name).read_bytes(), 1)
        (folder / f"{file.name}.gz").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """A function that composes a configuration from overrides, as the command line does."""

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
            return hydra_compose("train", list(overrides))

    return composed


@pytest.fixture(scope="session")
def small_run(
    compose: Callable[..., DictConfig], mnist_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """The folder of a finished run of `SMALL`."""
    folder = tmp_path_factory.mktemp("run")
    train(compose(*SMALL), folder)
    return RunFolder(folder)


@pytest.fixture
def command(tmp_path: Path, mnist_root: Path) -> Command:
    """A function that runs `python train.py …` in an empty folder, with its output piped."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(TRAIN), *arguments],
            cwd=tmp_path,
            env={**os.environ, "MNIST_ROOT": str(mnist_root), **environment},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run
