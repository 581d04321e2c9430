"""How much memory this process may use."""

from pathlib import Path

import pytest

from tiny_mnist.system.memory import memory_limit


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
