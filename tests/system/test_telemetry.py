"""Libraries send nothing about their use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.pictures import draw_ink
from tiny_mnist.runs.folder import RunFolder


@pytest.mark.parametrize("command", ["predict", "export"])
def test_onnx_runtime_keeps_no_identifier(
    command: str, tmp_path: Path, small_run: RunFolder, mnist_root: Path
) -> None:
    """ONNX Runtime writes one for its reports, which it sends unless a variable is set."""
    Image.fromarray(255 - draw_ink()).save(tmp_path / "seven.png")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # ONNX Runtime itself is silent where tests run by themselves.
    silent = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    variables = {key: value for key, value in os.environ.items() if key not in silent}
    arguments = {
        "predict": [str(tmp_path / "seven.png")],
        "export": [str(small_run.path), "--out", str(tmp_path / "network.onnx")],
    }[command]
    done = subprocess.run(
        [sys.executable, "-c", "from tiny_mnist.cli import app; app()", command, *arguments],
        env={**variables, "TMPDIR": str(temporary), "MNIST_ROOT": str(mnist_root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (temporary / ".ses").exists()
