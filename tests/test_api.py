"""The public names of the package, and reading from Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_mnist
from support.pictures import draw_ink
from support.program import PROJECT
from tiny_mnist.api import to_bytes
from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.transforms import normalize
from tiny_mnist.inference.predictor import BATCH_SIZE
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network


@pytest.fixture(scope="module")
def reader() -> tiny_mnist.DigitReader:
    return tiny_mnist.load()


@pytest.fixture(scope="module")
def seven() -> np.ndarray:
    """A dark 7 on white, [120, 100], uint8."""
    return 255 - draw_ink(120, 9)[:, :100]


@pytest.fixture(scope="module")
def mnist_seven() -> np.ndarray:
    """A 7 in the format of MNIST, which is read without a search for ink."""
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 8:21] = image[7:24, 17:20] = 255
    return image


def test_every_public_name_can_be_imported() -> None:
    for name in tiny_mnist.__all__:
        assert getattr(tiny_mnist, name) is not None
        assert name in dir(tiny_mnist)
    for package in ("data", "models"):
        module = import_module(f"tiny_mnist.{package}")
        assert all(getattr(module, name) is not None for name in module.__all__)
    assert tiny_mnist.__version__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tiny_mnist.nonsense


def test_reads_without_pytorch(tmp_path: Path, seven: np.ndarray) -> None:
    path = tmp_path / "seven.png"
    Image.fromarray(seven).save(path)
    code = (
        "import sys, tiny_mnist\n"
        f"print(tiny_mnist.load().predict({str(path)!r}).text)\n"
        "print({'torch', 'lightning', 'matplotlib', 'hydra'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["7", "set()"]


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64", "bool", "inverted"])
@pytest.mark.parametrize("shape", ["grey", "one channel", "rgb", "rgba"])
def test_reads_arrays_of_every_kind(
    reader: tiny_mnist.DigitReader, seven: np.ndarray, kind: str, shape: str
) -> None:
    array = {
        "uint8": seven,
        "int64": seven.astype(np.int64),
        "float32": seven.astype(np.float32) / 255,
        "float64": seven.astype(np.float64) * 100 - 7000,
        "bool": seven > 127,
        "inverted": 255 - seven,
    }[kind]
    if shape == "one channel":
        array = array[..., None]
    elif shape == "rgb":
        array = np.repeat(array[..., None], 3, axis=2)
    elif shape == "rgba":
        opaque = np.full((*array.shape, 1), array.max(), array.dtype)
        array = np.concatenate([np.repeat(array[..., None], 3, axis=2), opaque], axis=2)
    prediction = reader.predict(array)
    assert (prediction.status, prediction.text) == ("digit", "7")


def test_floats_that_a_resize_has_left_beyond_one_are_not_stretched() -> None:
    levels = to_bytes(np.array([-0.05, 0.0, 0.5, 1.0, 1.08]))
    assert levels.tolist() == [0, 0, 128, 255, 255]


def test_floats_far_beyond_one_are_stretched() -> None:
    assert to_bytes(np.array([-1.0, 0.0, 3.0])).tolist() == [0, 64, 255]


@pytest.mark.parametrize("value", [-3, 0, 7, 255, 300])
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_an_array_of_one_value_shows_no_digit(
    reader: tiny_mnist.DigitReader, value: int, kind: type
) -> None:
    assert reader.predict(np.full((60, 50), value, kind)).status == "no digit"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_do_not_hide_a_digit(
    reader: tiny_mnist.DigitReader, seven: np.ndarray, value: float
) -> None:
    array = 1 - seven / 255
    array[0, 0] = value
    assert reader.predict(array).text == "7"


def test_reads_images_paths_lists_and_stacks(
    reader: tiny_mnist.DigitReader, seven: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "seven.png"
    picture = Image.fromarray(seven)
    picture.save(path)
    assert reader.predict(picture).text == "7"
    picture.load()  # the caller's image is still usable
    several = reader.predict([str(path), path, picture, seven, tmp_path / "absent.png"])
    assert [one.text for one in several] == ["7", "7", "7", "7", ""]
    assert [one.status for one in several] == ["digit"] * 4 + ["error"]
    assert [one.text for one in reader.predict(np.stack([seven, seven]))] == ["7", "7"]
    assert reader.predict([]) == []


def test_pictures_are_loaded_as_they_are_read_and_not_kept(mnist_seven: np.ndarray) -> None:
    reader, taken, taken_before = tiny_mnist.load(), 0, []
    network = reader._network

    def pictures() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(3 * BATCH_SIZE):
            taken += 1
            yield mnist_seven

    def counted_network(images: np.ndarray) -> np.ndarray:
        taken_before.append(taken)
        return network(images)

    reader._network = counted_network
    predictions = reader.predict(pictures())
    assert {prediction.text for prediction in predictions} == {"7"}
    assert taken_before == [BATCH_SIZE, 2 * BATCH_SIZE, 3 * BATCH_SIZE]
    assert all(prediction.picture is None for prediction in predictions)


def test_reads_images_in_the_format_of_mnist(
    reader: tiny_mnist.DigitReader, mnist_seven: np.ndarray
) -> None:
    prediction = reader.predict(mnist_seven)
    assert prediction.text == "7"
    assert prediction.digits[0].image.shape == (28, 28)


def test_a_damaged_pillow_image_is_an_error_of_its_own_prediction(
    reader: tiny_mnist.DigitReader, seven: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(seven).save(path)
    path.write_bytes(path.read_bytes()[:200])
    large = Image.new("1", (10_001, 10_000))
    with Image.open(path) as damaged:
        predictions = reader.predict([damaged, seven, large])
    assert [one.status for one in predictions] == ["error", "digit", "error"]
    assert predictions[0].error.startswith("picture 0 is a damaged picture")
    assert predictions[2].error.startswith("picture 2 has 10001×10000 pixels")


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (3, TypeError),
        ([3], TypeError),
        (np.zeros((2, 2), complex), TypeError),
        (np.zeros((0, 28)), ValueError),
        (np.zeros(28), ValueError),
        (np.zeros((2, 2, 2, 2)), ValueError),
    ],
)
def test_what_is_no_picture_is_refused(
    reader: tiny_mnist.DigitReader, picture: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        reader.predict(picture)  # type: ignore[call-overload]


@pytest.mark.slow
def test_the_example_runs_cell_by_cell(small_run: RunFolder) -> None:
    for run in ("", str(small_run.path)):
        done = subprocess.run(
            [sys.executable, PROJECT / "examples" / "read_digits.py"],
            env={**os.environ, "RUN": run}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith("7, ")
        assert "picture 2: 777 (number)" in done.stdout
        assert ("Linear(in_features=16, out_features=10" in done.stdout) == bool(run)


def test_reads_with_the_network_of_a_run(small_run: RunFolder, seven: np.ndarray) -> None:
    import torch

    reader = tiny_mnist.load(small_run.path)
    (digit,) = reader.predict(seven).digits
    image = normalize(torch.from_numpy(digit.image[None]), MNIST.info)
    with torch.inference_mode():
        log_probs, expected = reader.module(image), load_network(small_run)(image)
    assert torch.equal(log_probs, expected)
    assert not reader.module.training
    assert reader.module.hparams["optim"]["max_lr"] == 0.75
    assert reader.module.optimizer is not None
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_the_newest_run_stays_the_same_when_another_begins(
    small_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        run = RunFolder(shutil.copytree(small_run.path, tmp_path / "runs" / name))
        run.configuration.parent.mkdir(exist_ok=True)
        run.configuration.touch()
        if name == "first":
            reader = tiny_mnist.load("latest")
    assert tiny_mnist.load("latest").run == Path("runs/second")
    assert reader.run == Path("runs/first")


def test_a_missing_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(tiny_mnist.UserError):
        tiny_mnist.load(tmp_path / "absent")


def test_the_module_of_the_shipped_network_gives_log_probabilities(
    reader: tiny_mnist.DigitReader,
) -> None:
    import torch

    module = reader.module
    assert isinstance(module, tiny_mnist.LitClassifier)
    with torch.inference_mode():
        log_probs = module(torch.zeros(2, 1, 28, 28))
    assert log_probs.shape == (2, 10)
    assert log_probs.exp().sum(dim=1) == pytest.approx(1, abs=1e-5)
