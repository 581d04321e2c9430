"""Libraries send nothing about their use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.pictures import draw_ink
from tiny_mnist.runs.folder import RunFolder

PROGRAM = """
import os, sys
def note(event, arguments):
    if event == "import" and arguments[0] == "onnxruntime":
        print("onnxruntime imported, telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.addaudithook(note)
from tiny_mnist.cli import app
app()
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "export", "export --int8"])
def test_onnx_runtime_sends_nothing(
    command: str, tmp_path: Path, small_run: RunFolder, mnist_root: Path
) -> None:
    """It reports its use unless a variable is set before it is imported; it keeps an identifier."""
    Image.fromarray(255 - draw_ink()).save(tmp_path / "seven.png")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # ONNX Runtime itself is silent where tests run by themselves.
    silent = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    variables = {key: value for key, value in os.environ.items() if key not in silent}
    exported = [str(small_run.path), "--out", str(tmp_path / "network.onnx")]
    arguments = [str(tmp_path / "seven.png")] if command == "predict" else exported
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split(), *arguments],
        env={**variables, "TMPDIR": str(temporary), "MNIST_ROOT": str(mnist_root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Eight bits of a network that is hardly trained may be refused, after they were compared.
    assert done.returncode == 0 or command == "export --int8", done.stderr
    assert "onnxruntime imported, telemetry off: 1\n" in done.stdout, done.stderr
    assert "telemetry off: None" not in done.stdout
    assert not (temporary / ".ses").exists()
