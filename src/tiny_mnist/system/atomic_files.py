"""Files that are either whole or absent, whatever happens while they are written."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

UNFINISHED = ".part"  # ends the name of a file that is being written


@contextmanager
def atomic_write(path: Path, previous: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; flush it and move it into place at the end.

    Until then the previous file of that name stays as it was, also when writing fails.

    Args:
        path: the file; its folder must exist, for a run whose folder was removed must not go on.
        previous: where the file that was there is moved when the new one is whole.

    Raises:
        OSError: the disk is full, or the folder cannot be written; names `path`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
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
        error.filename = str(path)  # a full disk gives none, and the temporary one says nothing
        raise
    finally:
        with suppress(OSError):  # the folder may be gone
            temporary.unlink(missing_ok=True)


def check_can_write(path: Path) -> None:
    """See that a file can be written, before work is spent on what goes into it.

    Raises:
        OSError: it cannot; names `path`. Its folder is created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        error.filename = str(path)
        raise


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
