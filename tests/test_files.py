"""Files are whole or absent."""

from pathlib import Path

import pytest

from tiny_mnist.files import whole_file


def test_a_failed_write_leaves_the_previous_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as file:
        file.write(b"first")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"sec", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unfinished_file_is_not_seen_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with whole_file(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
