"""Files from a package of the system, which is asked first."""

import errno
import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.mirrors import Mirror
from tiny_mnist.data import MNIST, load_dataset


@pytest.mark.slow
def test_files_of_a_system_package_are_used_before_mirrors(
    tmp_path: Path, packed: dict[str, bytes]
) -> None:
    """No mirror is asked: reading their list fails the test."""
    system, root = tmp_path / "system", tmp_path / "root"
    system.mkdir()
    root.mkdir()
    for name, content in packed.items():
        (system / f"{name}.gz").write_bytes(gzip.compress(zlib.decompress(content, wbits=31), 9))
    load_dataset(root, replace(MNIST, system_folder=str(system)))
    assert {path.name for path in root.iterdir()} == {".lock", *packed}


def test_wrong_files_of_the_system_are_not_used(
    tmp_path: Path, good_mirror: Callable[[], Mirror]
) -> None:
    mirror, system, root = good_mirror(), tmp_path / "system", tmp_path / "root"
    system.mkdir()
    root.mkdir()
    for file in MNIST.files:
        (system / f"{file.name}.gz").write_bytes(gzip.compress(bytes(file.size)))
    load_dataset(root, replace(MNIST, system_folder=str(system)))
    assert set(mirror.asked) == {file.name for file in MNIST.files}


def test_mirrors_are_used_if_system_files_are_unreadable(
    tmp_path: Path, good_mirror: Callable[[], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, system, root = good_mirror(), tmp_path / "system", tmp_path / "root"
    root.mkdir()
    usual = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.parent == system:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    load_dataset(root, replace(MNIST, system_folder=str(system)))
    assert set(mirror.asked) == {file.name for file in MNIST.files}
