"""Files are complete or absent."""

from contextlib import suppress
from pathlib import Path

import pytest

from tiny_mnist.system.atomic_files import (
    UNFINISHED,
    atomic_write,
    check_can_write,
    remove_unfinished,
    write_csv,
    write_json,
    write_text,
)


def test_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"first")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"sec", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_file_does_not_exist_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_previous_file_is_kept_on_request(tmp_path: Path) -> None:
    path, previous = tmp_path / "file", tmp_path / "previous"
    for content in (b"first", b"second"):
        with atomic_write(path, previous) as file:
            file.write(content)
    assert (path.read_bytes(), previous.read_bytes()) == (b"second", b"first")


def test_missing_folder_is_an_error_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "file"
    with pytest.raises(FileNotFoundError, match="gone/file"), atomic_write(path):
        pass
    assert not path.parent.exists()


def test_temporary_files_of_a_killed_process_are_removed_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with suppress(OSError), atomic_write(path):
        (unfinished,) = tmp_path.iterdir()
        kept = unfinished.read_bytes()
    unfinished.write_bytes(kept)  # as a kill would have left it
    strangers = [f".file.thesis{UNFINISHED}", f".other.0123abcd{UNFINISHED}"]
    for name in strangers:
        (tmp_path / name).touch()
    remove_unfinished([path])
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["file", *strangers])


def test_check_can_write_creates_the_folder_and_leaves_no_file(tmp_path: Path) -> None:
    check_can_write(tmp_path / "new" / "file")
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]


def test_check_can_write_names_a_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as error:
        check_can_write(tmp_path)
    assert error.value.filename == str(tmp_path)


def test_texts_numbers_and_tables_are_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    write_json(path, {"a": [1, None]})
    assert path.read_text() == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, [float("nan")])
    write_csv(path, ("a", "b"), [{"a": 1, "b": None}, {"a": "x,y"}])
    assert path.read_text() == 'a,b\n1,\n"x,y",\n'
    assert [*tmp_path.iterdir()] == [path]
