"""Any four IDX files: what follows from them, and what is refused."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from support.idx_files import idx_bytes, striped, write_idx_folder
from tiny_mnist.data import MNIST, IdxDataModule, LabelledImages, load_idx
from tiny_mnist.errors import DataError, UserError

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize("packed", [False, True])
def test_classes_and_normalisation_are_those_of_the_training_files(
    tmp_path: Path, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = load_idx(write_idx_folder(tmp_path / "stripes", packed=packed))
    pixels = found.train_images.double() / 255
    assert found.info.name == "stripes"
    assert found.info.class_names == ("0", "1", "2")
    assert found.info.mean == pytest.approx(float(pixels.mean()), abs=1e-4)
    assert found.info.std == pytest.approx(float(pixels.std(correction=0)), abs=1e-4)
    assert found.train_images.equal(torch.from_numpy(striped(found.train_labels.byte().numpy())))
    assert found.test_labels.tolist() == [0, 1, 2] * 20
    assert caplog.text.count("no checksum is known") == 1


def test_the_constants_of_mnist_follow_from_its_files(mnist_root: Path) -> None:
    found: LabelledImages = load_idx(mnist_root)
    assert found.info[1:] == MNIST.info[1:]


def test_normalised_images_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    data = IdxDataModule(str(write_idx_folder(tmp_path / "stripes")), rotation=0, translation=0)
    data.setup("fit")
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    images = torch.cat([batch.images for batch in batches])
    assert abs(float(images.mean())) < 1e-3
    assert float(images.std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_IMAGES, idx_bytes(np.zeros((300, 32, 32), np.uint8)), "300×32×32 values; images of"),
        (TRAIN_IMAGES, idx_bytes(np.zeros((0, 28, 28), np.uint8)), "0×28×28 values"),
        (TRAIN_IMAGES, idx_bytes(np.zeros((300, 784), np.uint8)), "300×784 values"),
        (TRAIN_IMAGES, idx_bytes(np.zeros((300, 28, 28), np.uint8)), "all pixels of .* are equal"),
        (TRAIN_IMAGES, b"\x89PNG" * 9, "is not an IDX file of unsigned bytes"),
        (TRAIN_IMAGES, idx_bytes(striped(np.zeros(9, np.uint8)))[:-1], "its header announces 9×28"),
        (TRAIN_LABELS, b"", "is not an IDX file"),
        (TRAIN_LABELS, bytes([0, 0, 8, 1, 0]), "its header announces 0 values"),
        (TRAIN_LABELS, idx_bytes(np.zeros(299, np.uint8)), "300 images, and .* 299 labels"),
        (TRAIN_LABELS, idx_bytes(np.tile(np.uint8([1, 2]), 150)), "they are 1, 2"),
        (TRAIN_LABELS, idx_bytes(np.tile(np.uint8([0, 2]), 150)), "they are 0, 2"),
        (TRAIN_LABELS, idx_bytes(np.zeros(300, np.uint8)), "they are 0$"),
        (TEST_LABELS, idx_bytes(np.full(60, 3, np.uint8)), "has the label 3, and the training"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    folder = write_idx_folder(tmp_path / "stripes")
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        load_idx(folder)
    assert "\n" not in str(raised.value)


def test_a_missing_or_doubtful_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; correct data\.root"):
        load_idx(tmp_path / "nowhere")
    folder = write_idx_folder(tmp_path / "stripes")
    (folder / "mine-train-labels-idx1-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"one file of train labels, .* found mine-train-labels"):
        load_idx(folder)
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(DataError, match=r"mine-train-labels-idx1-ubyte\.gz cannot be read"):
        load_idx(folder)
    (folder / "mine-train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"one file of train labels, .* found none"):
        load_idx(folder)


def test_a_folder_is_needed_and_sizes_must_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data=idx needs data\.root=FOLDER"):
        IdxDataModule().setup("fit")
    root = str(write_idx_folder(tmp_path / "stripes"))
    for sizes in ({"val_size": 299}, {"val_size": 200, "train_size": 101}, {"train_size": 301}):
        with pytest.raises(UserError, match="there are 300 training images: too few") as refused:
            IdxDataModule(root, **sizes).setup("fit")
        assert not isinstance(refused.value, DataError), "other sizes can be trained on"
        assert ("hold fewer out with data.val_size" in str(refused.value)) == ("val_size" in sizes)
