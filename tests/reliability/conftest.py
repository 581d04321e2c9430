"""Outcomes of uninterrupted runs to compare with, and counts of what was tried."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.outcomes import outcome
from support.program import HELD_OUT, RUN, run_program
from tiny_mnist.runs.folder import RunFolder

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


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Counter[str]:
    """How many faults of each kind were survived: for `docs/reliability.md`."""
    return pytestconfig.stash[COUNTS]


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
