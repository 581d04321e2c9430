"""Atomic file writing: a file is complete or absent, also after a crash."""

import csv
import errno
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

UNFINISHED = ".part"  # suffix of a file that is being written


@contextmanager
def atomic_write(path: Path, previous: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing; flush it to the disk and rename it to `path` at the end.

    When writing fails, an existing file at `path` stays unchanged.

    Args:
        path: the file. Its folder must exist: a run whose folder was removed must not continue.
        previous: new name of the existing file, which is kept when the new one is complete.

    Raises:
        OSError: the disk is full or the folder is not writable. The error names `path`.
    """
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        error.filename = str(path)  # it names the temporary file, or none if the disk is full
        raise
    finally:
        with suppress(OSError):  # the folder may have been removed
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write plain values to a JSON file atomically.

    Raises:
        ValueError: there is a NaN or an infinity among them; JSON has none.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table with a header to a CSV file atomically; what a row lacks is left empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, [*columns], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def check_can_write(path: Path) -> None:
    """Check that a file can be written, before time is spent on its content.

    The folder of the file is created.

    Raises:
        OSError: the file cannot be written. The error names `path`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = temporary_path(path)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        error.filename = str(path)
        raise


def temporary_path(path: Path) -> Path:
    """A new hidden name beside `path` for a file that is being written."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, on systems that support it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove the temporary files that killed processes left of these files, and no others."""
    for path in paths:
        name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
        for left in path.parent.glob(f"*{UNFINISHED}"):
            if name.fullmatch(left.name):
                left.unlink(missing_ok=True)
