"""Outcomes of uninterrupted runs to compare with."""

import time
from pathlib import Path
from typing import Any

import pytest

from support.outcomes import outcome
from support.program import HELD_OUT, RUN, run_program
from tiny_mnist.runs.folder import RunFolder


@pytest.fixture(scope="session")
def uninterrupted(
    mnist_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """The outcome of an uninterrupted run of `RUN`, and its duration in seconds."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_program("--help", folder=folder)  # starts the fork server, which imports torch
    started = time.perf_counter()
    done = run_program(*RUN, "hydra.run.dir=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    return outcome(RunFolder(folder / "run")), time.perf_counter() - started


@pytest.fixture(scope="session")
def expected(uninterrupted: tuple[dict[str, Any], float]) -> dict[str, Any]:
    """The outcome of an uninterrupted run of `RUN`."""
    return uninterrupted[0]


@pytest.fixture(scope="session")
def held_out(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of an uninterrupted run of `HELD_OUT`."""
    folder = tmp_path_factory.mktemp("held_out")
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    return outcome(RunFolder(folder / "run"))
