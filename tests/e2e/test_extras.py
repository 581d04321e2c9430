"""An installation without extras: training and evaluation work, the rest says what to install."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.program import PROJECT, TRAIN
from tiny_mnist.runs.folder import RunFolder

EXTRAS = "cv2,onnxruntime,onnx,safetensors,gradio,optuna,sklearn,wandb,mlflow"


def run_without_extras(
    folder: Path, mnist_root: Path, *program: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder as if no extra were installed."""
    return run_without(EXTRAS, folder, mnist_root, *program)


def run_without(
    modules: str, folder: Path, mnist_root: Path, *program: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder as if these modules were not installed."""
    return subprocess.run(
        [sys.executable, str(PROJECT / "tests/support/without_modules.py"), modules, *program],
        cwd=folder, env={**os.environ, "MNIST_ROOT": str(mnist_root)},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_training_needs_no_extra(tmp_path: Path, mnist_root: Path) -> None:
    done = run_without_extras(tmp_path, mnist_root, str(TRAIN), "debug=batch", "hydra.run.dir=run")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("extra", "program"),
    [
        ("predict", ("tiny_mnist.cli:app", "predict", "photo.png")),
        pytest.param("export", ("tiny_mnist.cli:app", "export", "RUN"), marks=pytest.mark.slow),
        pytest.param("demo", ("tiny_mnist.cli:app", "demo"), marks=pytest.mark.slow),
        ("sweep", (str(TRAIN), "-m", "hydra/sweeper=optuna", "optim.max_lr=interval(0.1,1)")),
        pytest.param("wandb", (str(TRAIN), "logger=wandb"), marks=pytest.mark.slow),
        pytest.param("mlflow", (str(TRAIN), "logger=mlflow"), marks=pytest.mark.slow),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    tmp_path: Path, mnist_root: Path, small_run: RunFolder, extra: str, program: tuple[str, ...]
) -> None:
    from PIL import Image

    Image.new("L", (28, 28), 255).save(tmp_path / "photo.png")
    program = tuple(str(small_run.path) if part == "RUN" else part for part in program)
    done = run_without_extras(tmp_path, mnist_root, *program)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(rf"pip install .*\[{extra}\]", line), line
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png"}


@pytest.mark.parametrize("missing", ["cv2", "onnxruntime", "safetensors"])
def test_loading_in_python_names_the_extra_that_is_missing(
    tmp_path: Path, mnist_root: Path, missing: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import tiny_mnist\n"
        "try: tiny_mnist.load()\n"
        "except tiny_mnist.UserError as error: print(error)\n"
    )
    done = run_without(missing, tmp_path, mnist_root, str(program))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"tiny_mnist.load() needs {missing}: pip install 'tiny-mnist[predict]'\n"
    )
