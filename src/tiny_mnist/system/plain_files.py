"""Read and check files of a run folder that may come from a stranger.

Opening a FIFO blocks, a sparse file can claim any size, and writing through a link changes a file
elsewhere. The functions here refuse such entries before anything is opened.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from tiny_mnist.errors import UserError, one_line

MAX_TEXT_BYTES = 16 << 20  # of a summary or table; those of a long run have less than 1 MiB


def check_regular_file(path: Path, max_bytes: int) -> None:
    """Check that a path is a regular file of at most `max_bytes`; links are followed.

    Raises:
        UserError: it is a folder, FIFO, socket or device, or too large.
        FileNotFoundError: it does not exist.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a regular file")
    if status.st_size > max_bytes:
        raise UserError(
            f"{path} has {status.st_size:,} bytes, more than the {max_bytes:,} that are read"
        )


def check_not_link(path: Path, folder: bool = False) -> None:
    """Check that a path is absent, or a regular file or folder itself and not a link to one.

    Raises:
        UserError: it is a link or something else; writing there could change a file elsewhere.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise UserError(f"{path} is a symbolic link; a run writes through none, so replace it")
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        raise UserError(f"{path} is not a {'folder' if folder else 'regular file'}; remove it")


def truncate_file(path: Path, size: int) -> None:
    """Cut a regular file to `size` bytes; does nothing through a link, or to a shorter file."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and size < status.st_size:
            os.ftruncate(handle, size)
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """Read a text file; bytes that are not UTF-8 are replaced.

    Raises:
        UserError: it is special or too large.
        OSError: it is absent or cannot be read.
    """
    check_regular_file(path, MAX_TEXT_BYTES)
    return path.read_text(encoding="utf-8", errors="replace")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        UserError: the file is absent, special, too large, or holds something else, such as NaN.
    """
    try:
        check_regular_file(path, MAX_TEXT_BYTES)
        content = json.loads(path.read_bytes(), parse_constant=refuse_constant)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {one_line(error)[:200]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return content


def is_percentage(value: Any) -> bool:
    """Whether a value is a number from 0 to 100, as accuracies are."""
    return type(value) in (int, float) and 0 <= value <= 100  # NaN is not


def refuse_constant(name: str) -> float:
    """Refuse `NaN` and `Infinity`, which Python's parser takes and JSON does not have."""
    raise ValueError(f"{name} is not a JSON number")


def without_nan(value: Any) -> Any:
    """A copy of nested plain values in which NaN and infinities are None, as JSON needs it."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
