"""What the tests of reliability share, and what they count for `docs/reliability.md`."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from tiny_mnist.data import source

COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="session")
def count() -> Counter[str]:
    """How often each kind of harm was done, and came to nothing."""
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
    for file in source.FILES:
        content = gzip.compress((mnist_root / file.name).read_bytes(), 1)
        (folder / f"{file.name}.gz").write_bytes(content)
    return folder
