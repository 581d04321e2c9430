"""Folders, mirrors and settings of the tests that fetch files; only this machine is asked."""

import contextlib
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torchvision import datasets

from support.mirrors import OK, TEST_LABELS, Mirror
from tiny_mnist.data import MNIST


class Untouchable(list[str]):
    """A list of mirrors that must not be read."""

    def __iter__(self) -> Iterator[str]:
        pytest.fail("a mirror was used")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No mirrors, no npm, no proxy and no default folder, unless a test sets them up."""
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    monkeypatch.setattr(datasets.MNIST, "mirrors", Untouchable())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    """Adds a mirror without files to the list of mirrors."""
    urls: list[str] = []
    monkeypatch.setattr(datasets.MNIST, "mirrors", urls)
    with contextlib.ExitStack() as stack:

        def add() -> Mirror:
            mirror = Mirror()
            stack.callback(mirror.close)
            urls.append(mirror.url)
            return mirror

        yield add


@pytest.fixture(scope="session")
def packed(mnist_root: Path) -> dict[str, bytes]:
    """The four compressed files."""
    return {f.name: gzip.compress((mnist_root / f.name).read_bytes(), 1) for f in MNIST.files}


@pytest.fixture
def good_mirror(new_mirror: Callable[[], Mirror], packed: dict[str, bytes]) -> Callable[[], Mirror]:
    """Adds a mirror that has all four files."""

    def add() -> Mirror:
        mirror = new_mirror()
        mirror.answers = {name: [OK, content] for name, content in packed.items()}
        return mirror

    return add


@pytest.fixture
def root(tmp_path: Path, mnist_root: Path) -> Path:
    """A folder where only the labels of the test images are missing."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in MNIST.files:
        if file != TEST_LABELS:
            (folder / file.name).symlink_to((mnist_root / file.name).resolve())
    return folder
