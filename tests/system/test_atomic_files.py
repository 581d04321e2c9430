"""Files are whole or absent."""

from contextlib import suppress
from pathlib import Path

import pytest

from tiny_mnist.system.atomic_files import UNFINISHED, atomic_write, remove_unfinished


def test_a_failed_write_leaves_the_previous_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"first")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"sec", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unfinished_file_is_not_seen_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_the_file_before_is_kept_if_wanted(tmp_path: Path) -> None:
    path, previous = tmp_path / "file", tmp_path / "previous"
    for content in (b"first", b"second"):
        with atomic_write(path, previous) as file:
            file.write(content)
    assert (path.read_bytes(), previous.read_bytes()) == (b"second", b"first")


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "file"
    with pytest.raises(FileNotFoundError, match="gone/file"), atomic_write(path):
        pass
    assert not path.parent.exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    with suppress(OSError), atomic_write(tmp_path / "below" / "file"):
        (unfinished,) = (tmp_path / "below").iterdir()
        left = unfinished.with_name(f"{unfinished.name}2{UNFINISHED}")
        left.touch()
    (tmp_path / "mine").touch()
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"below", "file", "mine"}
