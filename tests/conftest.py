"""Fixtures of all tests."""

import gzip
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Workers of pytest-xdist share the cores. Set before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from support.program import PROJECT, SMALL, TRAIN, Command
from tiny_mnist.data import FASHION_MNIST, MNIST, LabelledImages, download
from tiny_mnist.errors import DataError
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.train import train

COUNTS = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[COUNTS] = Counter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    counts = terminalreporter.config.stash[COUNTS]
    if counts:
        terminalreporter.section("reliability")
    for what, number in counts.items():
        terminalreporter.line(f"{number:5,} {what}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of a worker of pytest-xdist over to the main process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = dict(session.config.stash[COUNTS])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up the counts of the workers."""
    node.config.stash[COUNTS].update(getattr(node, "workeroutput", {}).get("counts", {}))


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Counter[str]:
    """How many faults of each kind were survived: for `docs/reliability.md`."""
    return pytestconfig.stash[COUNTS]


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the verified MNIST files, which are downloaded if absent."""
    root = download.default_root()
    download.load_dataset(root)
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: Path) -> LabelledImages:
    """All of MNIST."""
    return download.load_dataset(mnist_root)


@pytest.fixture(scope="session")
def fashion() -> LabelledImages:
    """All of Fashion-MNIST, where a source of it can be reached."""
    try:
        return download.load_dataset(download.default_root(FASHION_MNIST), FASHION_MNIST)
    except DataError as error:
        pytest.skip(f"needs Fashion-MNIST: {error}")


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
