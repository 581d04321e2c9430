"""Runs on other images than MNIST's: training, evaluation, export, and what is refused."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import nn
from typer.testing import CliRunner

import tiny_mnist
from support.idx_files import write_idx_folder
from support.program import SMALL, Command, run_program
from tiny_mnist.cli import app
from tiny_mnist.data import FASHION_MNIST, LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.export.onnx_format import predict_onnx
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.images import load_images
from tiny_mnist.runs.network import load_network
from tiny_mnist.training.checks import check_last_batch, check_num_classes, fill_num_classes
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]
EPOCHS = ("trainer=cpu", "trainer.max_epochs=3", "data.batch_size=50", "data.val_size=60")


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of IDX files with three classes."""
    return write_idx_folder(tmp_path_factory.mktemp("data") / "stripes", train=360)


@pytest.fixture(scope="module")
def striped_run(
    compose: Compose, stripes: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A finished run on them."""
    folder = tmp_path_factory.mktemp("run")
    train(compose("data=idx", f"data.root={stripes}", *EPOCHS), folder)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def fashion_run(
    fashion: LabelledImages, compose: Compose, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A short run on Fashion-MNIST."""
    folder = tmp_path_factory.mktemp("fashion")
    train(compose("data=fashion_mnist", *SMALL, "trainer.max_epochs=1"), folder)
    return RunFolder(folder)


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.output


def test_the_head_of_the_network_follows_the_data(striped_run: RunFolder) -> None:
    network = load_network(striped_run)
    head = network.get_submodule("head.1")
    assert isinstance(head, nn.Linear)
    assert head.out_features == 3
    summary = striped_run.read_summary()
    assert (summary["training_images"], summary["val_images"]) == (300, 60)
    assert summary["settings"]["num_classes"] == 3
    assert striped_run.confusion.exists()


def test_such_a_run_is_resumed_from_its_checkpoint(
    compose: Compose, stripes: Path, tmp_path: Path, striped_run: RunFolder
) -> None:
    config = compose("data=idx", f"data.root={stripes}", *EPOCHS)
    config.trainer.max_epochs = 1
    train(config, tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: 0\n")
    config.trainer.max_epochs = 2
    train(config, tmp_path, resume=True)
    assert RunFolder(tmp_path).read_summary()["epochs"] == 2


def test_evaluation_uses_the_images_of_the_run(striped_run: RunFolder) -> None:
    status, output = invoke("evaluate", striped_run.path)
    assert status == 0, output
    assert "of the 60 test images" in output
    assert "known to be wrong" not in output
    record = json.loads((striped_run.path / "evaluation" / "evaluation.json").read_text())
    accuracy = striped_run.read_summary()["test_accuracy"]
    assert record["accuracy"]["percent"] == pytest.approx(accuracy)
    assert (record["dataset"], len(record["confusion"])) == ("stripes", 3)
    assert record["provenance"]["classes"] == "0, 1, 2"
    assert "label_error" not in json.dumps(record)


@pytest.mark.parametrize("file_format", ["onnx", "safetensors"])
def test_exported_files_have_the_outputs_and_the_metadata_of_the_data(
    striped_run: RunFolder, file_format: str, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / f"network.{file_format}"
    status, output = invoke("export", striped_run.path, "--format", file_format, "--out", path)
    assert status == 0, output
    if file_format == "safetensors":
        assert b"stripes" in path.read_bytes()
        return
    images = load_images(striped_run)
    assert predict_onnx(path, images.test_images).shape == (60, 3)
    metadata = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert (metadata["dataset"], metadata["classes"]) == ("stripes", "0, 1, 2")


@pytest.mark.parametrize("file_format", ["html", "c"])
def test_formats_for_digits_are_refused_in_one_line(
    striped_run: RunFolder, file_format: str, tmp_path: Path
) -> None:
    path = tmp_path / f"file.{file_format}"
    status, output = invoke("export", striped_run.path, "--format", file_format, "--out", path)
    assert status == 1
    assert output.count("\n") == 1
    assert "is about handwritten digits, and the run was trained on stripes" in output
    assert not path.exists()


def test_reading_digits_with_such_a_network_is_refused_in_one_line(
    striped_run: RunFolder, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    status, output = invoke("predict", tmp_path / "x.png", "--run", striped_run.path)
    assert (status, output.count("\n")) == (1, 1)
    assert "reading digits in pictures needs a network that was trained on MNIST" in output
    with pytest.raises(UserError, match="trained on MNIST"):
        tiny_mnist.load(striped_run.path)


def test_the_demo_with_such_a_network_is_refused_in_one_line(striped_run: RunFolder) -> None:
    pytest.importorskip("gradio")
    status, output = invoke("demo", "--run", striped_run.path)
    assert (status, output.count("\n")) == (1, 1)
    assert "trained on MNIST" in output


def test_images_of_a_run_that_are_gone_are_looked_for_where_the_user_says(
    compose: Compose, tmp_path: Path, stripes: Path
) -> None:
    data = write_idx_folder(tmp_path / "data")
    train(compose("data=idx", f"data.root={data}", *EPOCHS), tmp_path / "run")
    data.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="does not exist"):
        load_images(RunFolder(tmp_path / "run"))
    assert load_images(RunFolder(tmp_path / "run"), tmp_path / "moved").info.name == "moved"


def test_bad_files_end_in_one_line_and_leave_nothing(mnist_root: Path, tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path / "data")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    done = run_program("data=idx", f"data.root={folder}", "hydra.run.dir=run", folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert "should hold one file of test labels" in line
    assert not (tmp_path / "run").exists()


class Fixed(nn.Module):
    """A network that is not told the number of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of ten classes."""
        return self.layer(images.flatten(1)).log_softmax(dim=1)


def test_one_image_in_the_last_batch_is_refused_before_anything_is_trained(
    compose: Compose, stripes: Path, tmp_path: Path
) -> None:
    config = compose("data=idx", f"data.root={stripes}", *EPOCHS, "data.val_size=59")
    with pytest.raises(UserError, match=r"leaves 1 of 301 training images .* batch normalisation"):
        train(config, tmp_path)
    assert not (tmp_path / "metrics.csv").exists()
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("network", "images", "processes", "limit", "refused"),
    [
        (nn.BatchNorm1d(1), 300, 1, 1.0, False),
        (nn.BatchNorm1d(1), 301, 1, 1.0, True),
        (nn.BatchNorm1d(1), 303, 2, 1.0, True),
        (nn.BatchNorm1d(1), 301, 1, 6, False),
        (nn.BatchNorm1d(1), 301, 1, 0.9, False),
        (nn.Identity(), 301, 1, 1.0, False),
        (nn.Identity(), 301, 2, 1.0, True),
    ],
)
def test_how_many_images_the_last_batch_needs(
    network: nn.Module, images: int, processes: int, limit: float, refused: bool
) -> None:
    with pytest.raises(UserError) if refused else nullcontext():
        check_last_batch(network, images, 50, processes, limit)


def test_a_network_with_another_number_of_outputs_is_refused() -> None:
    check_num_classes(Fixed(), 10)
    check_num_classes(Fixed(), None)
    with pytest.raises(UserError, match="the network has 10 outputs, and the data have 26 classes"):
        check_num_classes(Fixed(), 26)


def test_the_number_of_classes_is_added_only_where_it_changes_the_network() -> None:
    """Checkpoints of the default recipe stay as they are."""
    model = {"_target_": "tiny_mnist.models.tiny_cnn.TinyCNN", "width": 8}
    assert fill_num_classes({"model": model}, 10) == {"model": model}
    assert fill_num_classes({"model": model}, 26) == {"model": {**model, "num_classes": 26}}
    other = {"_target_": "torch.nn.Identity"}
    assert fill_num_classes({"model": other}, 26) == {"model": other}


@pytest.mark.slow
def test_an_epoch_on_fashion_mnist_leaves_names_instead_of_digits(fashion_run: RunFolder) -> None:
    assert fashion_run.read_summary()["test_images"] == 10_000
    status, output = invoke("evaluate", fashion_run.path)
    assert status == 0, output
    page = (fashion_run.path / "evaluation" / "report.html").read_text()
    record = json.loads((fashion_run.path / "evaluation" / "evaluation.json").read_text())
    assert [row["name"] for row in record["classes"]] == [*FASHION_MNIST.info.class_names]
    assert record["provenance"]["dataset"] == "Fashion-MNIST"
    assert "test images of Fashion-MNIST" in page
    assert "is Ankle boot, <em>read " in page
    assert "Northcutt" not in page
    status, output = invoke("predict", "x.png", "--run", fashion_run.path)
    assert (status, output.count("\n")) == (1, 1)
    assert "was trained with FashionMNISTDataModule" in output


def test_the_constants_of_fashion_mnist_are_those_of_its_training_images(
    fashion: LabelledImages,
) -> None:
    pixels = fashion.train_images.double() / 255
    assert float(pixels.mean()) == pytest.approx(fashion.info.mean, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(fashion.info.std, abs=5e-5)


@pytest.mark.slow
def test_folds_and_seeds_end_in_one_row(command: Command, stripes: Path, tmp_path: Path) -> None:
    done = command(
        "-m", "data=idx", f"data.root={stripes}", "data.fold=range(3)", "data.folds=3", "seed=0,1",
        "trainer=cpu", "trainer.max_epochs=1", "data.batch_size=50", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Mean ± standard deviation over 3 folds and 2 seeds (6 runs)." in done.stdout
    _, row = (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()
    assert row.startswith("1,6,0 1,0 1 2,val,")
    held_out = {
        json.loads(path.read_text())["val_images"]
        for path in (tmp_path / "sweep").glob("*/summary.json")
    }
    assert held_out == {120}


def test_outputs_that_are_no_log_probabilities_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(UserError, match="must return log-probabilities"):
        check_num_classes(network, 10)
    check_num_classes(nn.Sequential(network, nn.LogSoftmax(1)), 10)
