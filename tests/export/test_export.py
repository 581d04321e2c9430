"""Exported files give the results of PyTorch, or are not written."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

from tiny_mnist.cli import app
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.metrics import predict
from tiny_mnist.export.export import FORMATS, Comparison, Unchecked, are_close, export
from tiny_mnist.export.format import ExportedFile, Format, Tolerance
from tiny_mnist.export.safetensors_format import load_tiny_cnn
from tiny_mnist.inference import pretrained
from tiny_mnist.models.mlp import MLP
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network


def few(mnist: LabelledImages, images: int = 1000) -> LabelledImages:
    """A thousand images for calibration, and some for the test."""
    train, test = (mnist[:2], mnist[2:4])
    small = [*(part[:1000] for part in train), *(part[:images] for part in test)]
    return LabelledImages(*small, mnist.info)


def checked(
    network: nn.Module, path: Path, mnist: LabelledImages, name: str, **provenance: str | int
) -> Comparison:
    """Export and expect that the file was compared."""
    result = export(network, path, mnist, dict(provenance), FORMATS[name])
    assert isinstance(result, Comparison)
    return result


HEAD = (nn.Flatten(), nn.LogSoftmax(dim=1))


class SkipNetwork(nn.Module):
    """A network that is no sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4 * 28 * 28, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities."""
        return self.head((self.stem(images) + images).relu().flatten(1)).log_softmax(dim=1)


def test_onnx_file_is_small_described_and_exact(
    small_run: RunFolder, mnist: LabelledImages, tmp_path: Path
) -> None:
    path = tmp_path / "out.onnx"
    done = CliRunner().invoke(app, ["export", str(small_run.path), "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert "100.00 % read like PyTorch" in done.output
    assert path.stat().st_size <= 60_000
    session = onnxruntime.InferenceSession(path)
    (images,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 28, 28],
    )
    assert (outputs.name, outputs.shape) == ("log_probs", ["batch", 10])
    assert not any("Norm" in node.op_type for node in onnx.load(path).graph.node)
    metadata = session.get_modelmeta().custom_metadata_map
    assert "max_epochs=2" in metadata["recipe"]
    assert "%" in metadata["test_accuracy"]
    for count in (1, 7):
        batch = mnist.train_images[:count]
        (found,) = session.run(None, {"images": batch.numpy()})
        expected = predict(load_network(small_run), batch, mnist.info).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert list(tmp_path.iterdir()) == [path]


def test_int8_file_of_the_shipped_network_reads_as_well(
    mnist: LabelledImages, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    network = load_tiny_cnn(pretrained.WEIGHTS)
    check = checked(network, path, few(mnist), "onnx-int8", seed=0)
    assert path.stat().st_size <= 30_000
    assert check.accuracy == pytest.approx(check.torch_accuracy, abs=0.2)
    assert check.agreement >= 99.7
    model = onnx.load(path)
    assert sum(node.op_type == "QLinearConv" for node in model.graph.node) == 6
    assert {"seed", "test_accuracy", "quantization"} <= {p.key for p in model.metadata_props}


def test_int8_refuses_a_network_without_convolutions(tmp_path: Path, mnist: LabelledImages) -> None:
    with pytest.raises(UserError, match="has no convolutions"):
        export(MLP(12).eval(), tmp_path / "int8.onnx", few(mnist), {}, FORMATS["onnx-int8"])
    assert not [*tmp_path.iterdir()]


def test_int8_file_gives_the_same_result_with_and_without_vnni(
    mnist: LabelledImages, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    checked(load_tiny_cnn(pretrained.WEIGHTS), path, few(mnist), "onnx-int8")
    results = []
    for precise in ("0", "1"):  # 1: 32-bit sums, as VNNI computes them
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", precise)
        session = onnxruntime.InferenceSession(path, options)
        results.append(session.run(None, {"images": mnist.test_images[:1000].numpy()})[0])
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_user_is_warned_when_fewer_than_999_of_1000_images_are_read_alike() -> None:
    alike = Comparison(0.1, 99.95, 99.5, 99.5, "PyTorch", 99.5)
    assert not any("warning" in line for line in alike.describe())
    assert any("warning" in line for line in replace(alike, agreement=99.89).describe())


def test_a_file_is_judged_by_its_own_reference_and_a_worse_reference_is_named(
    mnist: LabelledImages, tmp_path: Path
) -> None:
    few_images = few(mnist, 200)

    def encode(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
        outputs = predict(network, data.test_images, data.info).clone()
        outputs[:10] = outputs[:10].roll(1, dims=1)  # 10 of 200 images: 5 % are read wrong
        tolerance = Tolerance(agreement=99.9, accuracy=0.05)
        return ExportedFile(b"x", lambda *_: outputs, tolerance, outputs, "the ONNX int8 file")

    network = load_tiny_cnn(pretrained.WEIGHTS)
    result = export(network, tmp_path / "file", few_images, {}, Format("file", encode))
    assert isinstance(result, Comparison)
    assert result.agreement == 100
    assert result.torch_accuracy - result.accuracy == pytest.approx(5)
    warning = result.describe()[-1]
    assert warning.startswith("warning: the ONNX int8 file, whose numbers this file has, reads 9")


def test_safetensors_hold_the_weights_and_say_that_normalisation_is_not_inside(
    small_run: RunFolder, mnist: LabelledImages, tmp_path: Path
) -> None:
    path = tmp_path / "out.safetensors"
    original = load_network(small_run)
    assert checked(original, path, few(mnist), "safetensors", seed=7).largest_difference == 0
    network = load_tiny_cnn(path)
    for name, tensor in original.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["seed"] == "7"
    assert "normalisation is NOT inside" in metadata["description"]
    # What the metadata say is enough to use the weights.
    grey = mnist.test_images[:100].float().unsqueeze(1)
    images = (grey / 255 - float(metadata["mean"])) / float(metadata["std"])
    with torch.inference_mode():
        expected = predict(original, mnist.test_images[:100], mnist.info)
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("name", ["onnx", "safetensors", "c"])
@pytest.mark.parametrize("width", [1, 3])
def test_other_widths_are_exported(
    mnist: LabelledImages, tmp_path: Path, name: str, width: int
) -> None:
    torch.manual_seed(width)
    network = TinyCNN(width).eval()
    if name == "c" and not shutil.which("cc"):
        pytest.skip("there is no C compiler")
    check = checked(network, tmp_path / "file", few(mnist, 200), name)
    assert check.agreement >= 99


def test_onnx_takes_networks_that_are_no_sequence(mnist: LabelledImages, tmp_path: Path) -> None:
    check = checked(SkipNetwork().eval(), tmp_path / "out.onnx", few(mnist, 200), "onnx")
    assert check.agreement == 100


def test_a_layer_that_pytorch_cannot_trace_is_an_error_of_one_line(
    mnist: LabelledImages, tmp_path: Path
) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(7), nn.Flatten())
    with pytest.raises(UserError, match="PyTorch cannot export this network to ONNX") as error:
        export(network.eval(), tmp_path / "file", few(mnist, 10), {}, FORMATS["onnx"])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "file").exists()


def test_safetensors_hold_weights_that_two_layers_share(
    mnist: LabelledImages, tmp_path: Path
) -> None:
    first, second = nn.Linear(784, 784), nn.Linear(784, 784)
    second.weight = first.weight
    network = nn.Sequential(nn.Flatten(), first, second, nn.Linear(784, 10), nn.LogSoftmax(1))
    check = checked(network.eval(), tmp_path / "file", few(mnist, 200), "safetensors")
    assert check.agreement == 100


@pytest.mark.parametrize("name", ["html", "c"])
@pytest.mark.parametrize(
    ("network", "named"),
    [
        (SkipNetwork(), "layer network, SkipNetwork, is not supported"),
        (nn.Sequential(nn.Conv2d(1, 10, 30, padding=1), *HEAD), "layer 0, Conv2d(1, 10,"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.Linear(32, 10)), "layer 1, Linear("),
        (
            nn.Sequential(nn.Conv2d(1, 10, 28), nn.ReLU(), nn.BatchNorm2d(10), *HEAD),
            "layer 2, BatchNorm2d(10,",
        ),
        (
            nn.Sequential(
                nn.Conv2d(1, 10, 28), nn.BatchNorm2d(10, track_running_stats=False), *HEAD
            ),
            "layer 1, BatchNorm2d(10,",
        ),
    ],
)
def test_unsupported_layer_is_named_in_one_line(
    mnist: LabelledImages, tmp_path: Path, name: str, network: nn.Module, named: str
) -> None:
    with pytest.raises(UserError) as error:
        export(network.eval(), tmp_path / "file", few(mnist, 10), {}, FORMATS[name])
    assert str(error.value).startswith(named)
    assert "\n" not in str(error.value)


def test_differences_are_judged_by_the_size_of_the_numbers() -> None:
    """Log-probabilities of a network that is hardly trained are in the hundreds."""
    large = torch.tensor([[-300.0, 0], [-2.0, -0.1]])
    assert are_close(large + torch.tensor([[1.8e-4, 2e-3], [0, 1e-4]]), large, 1e-4)
    assert not are_close(large + torch.tensor([[5e-3, 0], [0, 0]]), large, 1e-4)
    assert not are_close(large + torch.tensor([[0, 0], [0, 1.8e-4]]), large, 1e-4)
    assert not are_close(large * torch.nan, large, 1e-4)


@pytest.mark.parametrize("name", ["onnx", "safetensors", "html", "c"])
@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_mismatch_is_an_error_and_keeps_the_existing_file(
    mnist: LabelledImages, tmp_path: Path, name: str, wrong: float
) -> None:
    def damage(read: Callable[[Path, Tensor], Tensor]) -> Callable[[Path, Tensor], Tensor]:
        def read_damaged(path: Path, images: Tensor) -> Tensor:
            right = predict(network, images, mnist.info)
            return right.flip(1) if name == "c" else right + wrong

        return read_damaged

    def encode(network: nn.Module, mnist: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
        encoded = FORMATS[name].encode(network, mnist, metadata)
        return replace(encoded, read_back=damage(encoded.read_back))

    network = load_tiny_cnn(pretrained.WEIGHTS)
    path = tmp_path / "there"
    path.write_text("the one before")
    with pytest.raises(UserError, match="its results differ"):
        export(network, path, few(mnist, 100), {}, Format("there", encode))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["the one before"]


@pytest.mark.parametrize("name", ["summary.json", "checkpoints/last.ckpt"])
def test_a_file_of_another_kind_is_not_replaced(small_run: RunFolder, name: str) -> None:
    path = small_run.path / name
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["export", str(small_run.path), "--out", str(path)])
    assert (done.exit_code, done.output) == (1, f"error: --out {path} should end in .onnx\n")
    assert path.read_bytes() == before


def test_without_onnx_one_line_says_what_to_install(
    small_run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    arguments = ["export", str(small_run.path), "--out", str(tmp_path / "x.onnx")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.output == "error: export to ONNX needs onnx: pip install 'tiny-mnist[export]'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "missing"), [("c", "there is no C compiler"), ("html", "there is no Chromium")]
)
def test_without_compiler_or_browser_the_file_is_written_and_the_missing_check_named(
    mnist: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    network = load_tiny_cnn(pretrained.WEIGHTS)
    path = tmp_path / "file"
    result = export(network, path, few(mnist, 10), {}, FORMATS[name])
    assert isinstance(result, Unchecked)
    (line,) = result.describe()
    assert line.startswith(f"warning: not compared with PyTorch: {missing}")
    assert path.stat().st_size > 10_000


def test_compiler_error_is_an_error(mnist: LabelledImages, tmp_path: Path) -> None:
    from tiny_mnist.export.c import run_c

    path = tmp_path / "bad.c"
    path.write_text("int tiny_mnist_predict(void) { int unused; return 0; }\n")
    try:
        subprocess.run(["cc", "--version"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    with pytest.raises(UserError, match="does not compile"):
        run_c(path, mnist.test_images[:1])
