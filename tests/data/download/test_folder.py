"""The folder of the files: what is kept, replaced, created and named in errors."""

import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from support.mirrors import (
    FOUR,
    LABELS,
    OK,
    TEST_LABELS,
    TRAIN_LABELS,
    Mirror,
    names,
    same,
)
from tiny_mnist.data import (
    FASHION_MNIST,
    MNIST,
    DatasetInfo,
    IdxDataset,
    IdxFile,
    LabelledImages,
    download,
    load_dataset,
)
from tiny_mnist.errors import DataError


def test_verified_files_need_no_network(mnist_root: Path) -> None:
    mnist = load_dataset(mnist_root)
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_error_names_files_folder_and_the_reason_of_each_source(
    tmp_path: Path, new_mirror: Callable[[], Mirror]
) -> None:
    mirrors = [new_mirror(), new_mirror()]
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert all(name in message for name in FOUR)
    for mirror in mirrors:
        assert f"{mirror.url}: HTTP Error 404: Not Found" in message
    assert "npm is not installed" in message
    assert "\n" not in message


def flip_a_bit(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def cut_off(content: bytes) -> bytes:
    return content[:5000]


@pytest.fixture
def default_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `root` the project's own data folder."""
    monkeypatch.setattr("tiny_mnist.data.download.default_root", lambda dataset=MNIST: root)
    return root


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off])
def test_damaged_file_in_the_default_folder_is_renamed_and_fetched_again(
    default_folder: Path,
    good_mirror: Callable[[], Mirror],
    mnist_root: Path,
    mnist: LabelledImages,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    mirror, path = good_mirror(), default_folder / TEST_LABELS.name
    damaged = damage((mnist_root / TEST_LABELS.name).read_bytes())
    path.write_bytes(damaged)
    assert same(load_dataset(default_folder), mnist)
    (renamed,) = default_folder.glob(f"{TEST_LABELS.name}.damaged-*")
    assert renamed.read_bytes() == damaged
    assert names(default_folder) == FOUR | {renamed.name}
    assert mirror.asked == [TEST_LABELS.name]
    assert str(path) in caplog.text


@pytest.mark.parametrize("by_environment", [False, True])
def test_other_images_in_a_folder_of_the_user_are_never_replaced(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    by_environment: bool,
) -> None:
    if by_environment:
        monkeypatch.setenv("MNIST_ROOT", str(root))
    mirror = good_mirror()
    (root / TRAIN_LABELS.name).unlink()  # would be fetched otherwise
    (root / TEST_LABELS.name).write_bytes(LABELS)
    before = names(root)
    with pytest.raises(DataError, match="never replaced") as error:
        load_dataset(root)
    assert str(root / TEST_LABELS.name) in str(error.value)
    assert "data=idx" in str(error.value)
    assert (root / TEST_LABELS.name).read_bytes() == LABELS
    assert names(root) == before
    assert mirror.asked == []


def test_folder_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    folder = tmp_path / "mistyped" / "mnist"
    with pytest.raises(DataError, match=f"{folder} does not exist; create it with mkdir -p"):
        load_dataset(folder)
    assert not folder.parent.exists()


def test_default_folder_is_created_with_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "new" / "mnist"
    monkeypatch.setenv("MNIST_ROOT", str(folder))
    good_mirror()
    load_dataset(folder)
    assert names(folder) == FOUR
    assert f"created the folder {folder}" in caplog.text


@pytest.mark.parametrize("below", ["", "data/mnist"])
def test_file_in_the_place_of_the_folder_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    with pytest.raises(DataError, match=str(folder)):
        load_dataset(folder)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's /proc")
def test_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(DataError, match="the data folder /proc cannot be used"):
        load_dataset(Path("/proc"))


def test_waiting_for_the_lock_of_another_process_is_shown(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    mnist: LabelledImages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tiny_mnist.data.download.QUIET_SECONDS", 0.1)
    caplog.set_level("INFO", logger="tiny_mnist")
    good_mirror()
    locked = threading.Event()

    def hold_lock() -> None:
        with FileLock(root / ".lock"):
            locked.set()
            deadline = time.monotonic() + 60
            while "waiting" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.05)

    other = threading.Thread(target=hold_lock)
    other.start()
    locked.wait()
    assert same(load_dataset(root), mnist)
    other.join()
    assert caplog.text.count("waiting for another process") == 1


def test_another_dataset_needs_only_a_table_of_its_files(
    tmp_path: Path, new_mirror: Callable[[], Mirror]
) -> None:
    def idx(name: str, content: bytes) -> IdxFile:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        new_mirror().answers[name] = [OK, gzip.compress(content)]
        return IdxFile(name, len(content), digest)

    images = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(range(49)) * 16
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 1, 2])
    dataset = IdxDataset(
        info=DatasetInfo("Blank", ("a", "b", "c"), 0.5, 0.5),
        train_images=idx("train-images", images),
        train_labels=idx("train-labels", labels),
        test_images=idx("test-images", images),
        test_labels=idx("test-labels", labels),
        torchvision_class="MNIST",
        npm_package="no-such-package",
    )
    loaded = load_dataset(tmp_path, dataset)
    assert loaded.train_images.flatten().tolist() == list(images[16:])
    assert loaded.test_labels.tolist() == [2]
    assert loaded.info is dataset.info


def test_each_dataset_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files have the same names."""
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    assert {file.name for file in MNIST.files} == {file.name for file in FASHION_MNIST.files}
    assert download.default_root() == tmp_path
    assert download.default_root(FASHION_MNIST) == tmp_path / "fashion_mnist"
