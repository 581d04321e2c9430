"""Files that are not MNIST's are noticed and named, never trained on and never replaced."""

import gzip
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.outcomes import outcome
from support.program import RUN, run_program
from tiny_mnist.data import MNIST
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow
MEGABYTE = 1 << 20


def truncate(root: Path) -> str:
    path = root / MNIST.train_images.name
    path.write_bytes(path.read_bytes()[:1_000_000])
    return MNIST.train_images.name


def flip_a_bit(root: Path) -> str:
    path = root / MNIST.train_images.name
    content = bytearray(path.read_bytes())
    content[20_000_000] ^= 1
    path.write_bytes(content)
    return MNIST.train_images.name


def swap(root: Path) -> str:
    shutil.copy(root / MNIST.test_images.name, root / MNIST.train_images.name)
    return MNIST.train_images.name


def put_labels_out_of_range(root: Path) -> str:
    path = root / MNIST.train_labels.name
    content = bytearray(path.read_bytes())
    content[8:1008] = bytes([10, 255] * 500)
    path.write_bytes(content)
    return MNIST.train_labels.name


def lengthen(root: Path) -> str:
    with (root / MNIST.train_labels.name).open("ab") as file:
        file.write(b"\x01")
    return MNIST.train_labels.name


def empty(root: Path) -> str:
    (root / MNIST.test_images.name).write_bytes(b"")
    return MNIST.test_images.name


DAMAGES = (truncate, flip_a_bit, swap, put_labels_out_of_range, lengthen, empty)


@pytest.fixture
def root(tmp_path: Path, mnist_root: Path) -> Path:
    """A folder of its own with good files."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in MNIST.files:
        shutil.copy(mnist_root / file.name, folder)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_is_named_and_never_trained_on(
    tmp_path: Path,
    root: Path,
    mirror: Path,
    expected: dict[str, Any],
    damage: Callable[[Path], str],
    count: Counter[str],
) -> None:
    name, arguments = damage(root), (*RUN, "data.root=data", "hydra.run.dir=run")
    damaged = (root / name).read_bytes()
    done = run_program(*arguments, folder=tmp_path, mirror=mirror)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: data/{name} is not MNIST's file of that name")
    assert not (tmp_path / "run").exists()
    assert (root / name).read_bytes() == damaged

    (root / name).unlink()
    done = run_program(*arguments, folder=tmp_path, mirror=mirror)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == expected
    count["bad files of MNIST, each noticed and named, and the run refused"] += 1


def test_a_bomb_is_not_unpacked(
    tmp_path: Path, root: Path, mirror: Path, count: Counter[str]
) -> None:
    bomb = tmp_path / "bomb"
    shutil.copytree(mirror, bomb)
    member = gzip.compress(bytes(64 * MEGABYTE), 9)
    packed = bomb / f"{MNIST.train_labels.name}.gz"
    packed.write_bytes(member * 160)  # 10 GiB of zeros in 10 MB
    (root / MNIST.train_labels.name).unlink()
    arguments = (*RUN, "data.root=data", "hydra.run.dir=run")
    done = run_program(*arguments, folder=tmp_path, mirror=bomb)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: MNIST could not be fetched")
    assert not (tmp_path / "run").exists()
    assert {path.name for path in root.iterdir()} == {
        ".lock", *(file.name for file in MNIST.files if file != MNIST.train_labels),
    }  # fmt: skip
    count["bad files of MNIST, each noticed and named, and the run refused"] += 1
