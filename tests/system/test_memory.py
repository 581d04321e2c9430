"""How much memory this process may use, and which objects are kept."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny_mnist.system.memory import keeping_objects, memory_limit


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "place", "text"),
    [
        ("0::/a/b\n", "a/b/memory.max", "1048576\n"),
        ("0::/a/b\n", "a/memory.max", "1048576\n"),
        ("0::/\n", "memory.max", "1048576\n"),
        ("5:cpu:/x\n4:memory:/a\n0::/\n", "memory/a/memory.limit_in_bytes", "1048576\n"),
    ],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, groups: str, place: str, text: str
) -> None:
    write(tmp_path / "proc/self/cgroup", groups)
    write(tmp_path / "sys/fs/cgroup" / place, text)
    assert memory_limit(tmp_path) == 1 << 20


def test_without_a_limit_the_machines_memory_counts(tmp_path: Path) -> None:
    machine = memory_limit(tmp_path)
    assert machine is not None
    assert machine > 1 << 28
    write(tmp_path / "proc/self/cgroup", "0::/a\n")
    write(tmp_path / "sys/fs/cgroup/a/memory.max", "max\n")
    assert memory_limit(tmp_path) == machine


class Node:
    """An object that refers to itself, so that the collector alone can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collecting() -> Iterator[None]:
    """Undo what a test has told the collector."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collecting")
def test_kept_objects_are_left_alone_and_later_ones_collected() -> None:
    gc.unfreeze()
    with keeping_objects():
        assert not gc.isenabled()
        kept = weakref.ref(Node())
    assert gc.isenabled()
    later = weakref.ref(Node())
    gc.collect()
    assert kept() is not None
    assert later() is None
    gc.unfreeze()
    gc.collect()
    assert kept() is None


@pytest.mark.usefixtures("collecting")
def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with pytest.raises(ImportError), keeping_objects():
        raise ImportError
    assert not gc.isenabled()
