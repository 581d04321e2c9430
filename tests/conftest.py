"""What all tests share."""

import gzip
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from support.program import HELD_OUT, PROJECT, RUN, SMALL, Command, outcome, run_program
from tiny_mnist.data import download
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.train import train

COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="session")
def count() -> Counter[str]:
    """How often each kind of harm was done, and came to nothing: for `docs/reliability.md`."""
    return COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    if COUNTS:
        terminalreporter.section("reliability")
    for what, number in COUNTS.items():
        terminalreporter.line(f"{number:5,} {what}")


@pytest.fixture(scope="session")
def mirror(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files as mirrors have them."""
    folder = tmp_path_factory.mktemp("mirror")
    for file in download.FILES:
        content = gzip.compress((mnist_root / file.name).read_bytes(), 1)
        (folder / f"{file.name}.gz").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the verified MNIST files, fetched when absent."""
    root = download.default_root()
    download.load(root)
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: Path) -> download.Mnist:
    """All of MNIST."""
    return download.load(mnist_root)


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """Compose a configuration as the command line does."""

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
            return hydra_compose("train", list(overrides))

    return composed


@pytest.fixture(scope="session")
def small_run(
    compose: Callable[..., DictConfig], mnist_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """The folder of a small finished run."""
    folder = tmp_path_factory.mktemp("run")
    train(compose(*SMALL), folder)
    return RunFolder(folder)


@pytest.fixture(scope="session")
def whole(
    mnist_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """What `RUN` comes to when nothing interrupts it, and how many seconds that takes."""
    folder = tmp_path_factory.mktemp("whole")
    run_program("--help", folder=folder)  # imports what all of them need
    started = time.perf_counter()
    done = run_program(*RUN, "hydra.run.dir=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    return outcome(RunFolder(folder / "run")), time.perf_counter() - started


@pytest.fixture(scope="session")
def small(whole: tuple[dict[str, Any], float]) -> dict[str, Any]:
    """What `RUN` comes to."""
    return whole[0]


@pytest.fixture(scope="session")
def held_out(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `HELD_OUT` comes to when nothing interrupts it."""
    folder = tmp_path_factory.mktemp("held_out")
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    return outcome(RunFolder(folder / "run"))


@pytest.fixture
def command(tmp_path: Path, mnist_root: Path) -> Command:
    """Run `python train.py …` in an empty folder, as a user does with piped output."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROJECT / "train.py"), *arguments],
            cwd=tmp_path,
            env={**os.environ, "MNIST_ROOT": str(mnist_root), **environment},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run
