"""Exported files answer as PyTorch does, or are not written."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from tiny_mnist.cli import app
from tiny_mnist.data.download import Mnist
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.export import export as exporter
from tiny_mnist.export.export import export, load_safetensors
from tiny_mnist.inference import pretrained
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs import RunFolder, load_network

SHIPPED = Path(pretrained.__file__).with_name("tiny_mnist.safetensors")


def few(mnist: Mnist) -> Mnist:
    """A thousand images for training and test."""
    return Mnist(*(part[:1000] for part in mnist))


def test_the_onnx_file_is_small_described_and_exact(
    small_run: RunFolder, mnist: Mnist, tmp_path: Path
) -> None:
    path = tmp_path / "out.onnx"
    done = CliRunner().invoke(app, ["export", str(small_run.path), "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert "100.00 % read alike" in done.output
    assert path.stat().st_size <= 60_000
    session = onnxruntime.InferenceSession(path)
    (images,), (answers,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 28, 28],
    )
    assert (answers.name, answers.shape) == ("log_probs", ["batch", 10])
    assert not any("Norm" in node.op_type for node in onnx.load(path).graph.node)
    metadata = session.get_modelmeta().custom_metadata_map
    assert "max_epochs=2" in metadata["recipe"]
    assert "%" in metadata["test_accuracy"]
    for count in (1, 7):
        batch = mnist.train_images[:count]
        (found,) = session.run(None, {"images": batch.numpy()})
        expected = predict(load_network(small_run), batch).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert list(tmp_path.iterdir()) == [path]


def test_eight_bits_of_the_shipped_network_read_as_well(mnist: Mnist, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    network = load_safetensors(SHIPPED)
    check = export(network, path, few(mnist), {"seed": 0, "test_accuracy": 99.5}, int8=True)
    assert path.stat().st_size <= 30_000
    assert check.accuracy == pytest.approx(check.torch_accuracy, abs=0.2)
    assert check.agreement >= 99.7
    model = onnx.load(path)
    assert sum(node.op_type == "QLinearConv" for node in model.graph.node) == 6
    assert {"seed", "test_accuracy", "quantization"} <= {p.key for p in model.metadata_props}


def test_eight_bit_file_gives_the_same_result_with_and_without_vnni(
    mnist: Mnist, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    export(load_safetensors(SHIPPED), path, few(mnist), {}, int8=True)
    results = []
    for precise in ("0", "1"):  # 1: 32-bit sums, as VNNI computes them
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", precise)
        session = onnxruntime.InferenceSession(path, options)
        results.append(session.run(None, {"images": mnist.test_images[:1000].numpy()})[0])
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_safetensors_hold_the_network_itself(
    small_run: RunFolder, mnist: Mnist, tmp_path: Path
) -> None:
    path = tmp_path / "out.safetensors"
    check = export(load_network(small_run), path, few(mnist), {"seed": 7}, "safetensors")
    assert check.largest_difference == 0
    network = load_safetensors(path)
    for name, tensor in load_network(small_run).state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)
    with safe_open(path, "pt") as file:
        assert file.metadata()["seed"] == "7"


def test_another_width_is_exported_too(mnist: Mnist, tmp_path: Path) -> None:
    network = TinyCNN(width=3).eval()
    for name in ("w.onnx", "w.safetensors"):
        kind = name.removeprefix("w.")
        assert export(network, tmp_path / name, few(mnist), {}, kind).agreement == 100  # type: ignore[arg-type]


@pytest.mark.parametrize("file_format", ["onnx", "safetensors"])
@pytest.mark.parametrize("wrong", [0.001, float("nan")])
def test_a_mismatch_is_an_error_and_leaves_what_was_there(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str, wrong: float
) -> None:
    name = f"answers_of_{file_format}"
    original = getattr(exporter, name)
    monkeypatch.setattr(exporter, name, lambda *given: original(*given) + wrong)
    path = tmp_path / "there"
    path.write_text("the one before")
    with pytest.raises(UserError, match="otherwise than PyTorch"):
        export(TinyCNN().eval(), path, few(mnist), {}, file_format)  # type: ignore[arg-type]
    assert [p.read_text() for p in tmp_path.iterdir()] == ["the one before"]


def test_without_onnx_one_line_says_what_to_install(
    small_run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    arguments = ["export", str(small_run.path), "--out", str(tmp_path / "x.onnx")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.output == "error: onnx is not installed: pip install 'tiny-mnist[export]'\n"
    assert not list(tmp_path.iterdir())
