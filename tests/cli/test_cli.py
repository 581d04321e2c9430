"""The command line of tiny-mnist: messages, options and what it loads."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tiny_mnist.cli import app
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.folder import RunFolder

TARGET = "tiny_mnist.models.tiny_cnn.TinyCNN"


def save_run(path: Path, target: str = TARGET, **changes: Tensor) -> RunFolder:
    """Write the folder of a run with an untrained network."""
    run = RunFolder(path)
    run.checkpoints.mkdir(parents=True)
    run.configuration.parent.mkdir()
    run.configuration.write_text("seed: 0\n")
    weights = TinyCNN().state_dict() | changes
    torch.save(
        {
            "state_dict": {f"network.{name}": tensor for name, tensor in weights.items()},
            "hyper_parameters": {"model": {"_target_": target, "width": 8}},
        },
        run.last_checkpoint,
    )
    return run


def start(
    *arguments: str | bytes, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    code = "from tiny_mnist.cli import app; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def one_error(*arguments: str) -> str:
    """The message of a command that fails."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    (line,) = done.output.splitlines()
    return line.removeprefix("error: ")


def test_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"tiny-mnist {version('tiny-mnist')}\n")


def test_help_of_export_names_the_shape_of_its_input() -> None:
    done = CliRunner().invoke(app, ["export", "--help"])
    assert "uint8 of shape (batch, 28, 28)" in " ".join(done.output.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("--version",), ("evaluate", "nowhere"), ("export", "nowhere"),
        ("evaluate", "."), ("predict", "a.png", "--run", "nowhere"), ("demo", "--run", "nowhere"),
        ("evaluate", "latest"),
    ],
)  # fmt: skip
def test_paths_are_checked_before_torch_is_loaded(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = start(*arguments, cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    lines = done.stderr.decode().splitlines()
    assert any(line.endswith(" typer") for line in lines), "imports are listed there"
    assert not any(line.endswith((" torch", " lightning")) for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "nowhere"), "nowhere is no run folder, such as runs/2026-…"),
        (("export", "nowhere"), "nowhere is no run folder, such as runs/2026-…"),
        (("evaluate", "."), "there is no checkpoint checkpoints/last.ckpt"),
        (("evaluate", "latest"), "no run with a checkpoint below "),
        (("compare", "latest"), "no run with a checkpoint below "),
        (("predict", "a.png", "--run", "latest"), "no run with a checkpoint below "),
    ],
)
def test_a_wrong_folder_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert one_error(*arguments).startswith(message)


def test_a_missing_extra_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny_mnist.extras

    monkeypatch.setattr(tiny_mnist.extras, "is_installed", lambda module: module != "cv2")
    expected = "needs cv2: pip install 'tiny-mnist[predict]'"
    assert one_error("predict", "a.png") == f"tiny-mnist predict {expected}"


def test_weights_that_are_not_finite_are_refused_at_once(tmp_path: Path) -> None:
    bias = torch.full((10,), torch.nan)
    run = save_run(tmp_path / "run", **{"head.1.bias": bias})
    message = one_error("evaluate", str(run.path))
    assert message.endswith("holds NaN or infinite weights: its training diverged")
    assert not (run.path / "evaluation" / "evaluation.json").exists()


def test_a_class_outside_the_project_is_built_only_with_trust(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", target="torch.nn.Identity")
    for command in ("evaluate", "export"):
        assert "names the class torch.nn.Identity" in one_error(command, str(run.path))
        message = one_error(command, str(run.path), "--trust")
        assert "does not fit its class Identity" in message


def test_a_report_is_not_written_through_a_link(tmp_path: Path) -> None:
    run, elsewhere = save_run(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run.path / "evaluation").symlink_to(elsewhere)
    assert "evaluation is a symbolic link" in one_error("evaluate", str(run.path))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", [b"a\x1b[31mb", b"[/]", b"[bold]x", b"\xff\xfe", "ö…".encode()])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_name_can_be_printed_in_any_encoding(
    tmp_path: Path, name: bytes, encoding: str
) -> None:
    done = start(b"evaluate", name, cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"error: ")
    assert b"Traceback" not in line
    assert b"\x1b" not in line
    if b"[" in name and b"\x1b" not in name:
        assert line.startswith(b"error: " + name + b" is no run folder")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_printed_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    done = start("evaluate", "--help", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Measure a trained network" in done.stdout


def test_trust_makes_the_modules_of_the_current_folder_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    for trust in ([], ["--trust"]):
        assert CliRunner().invoke(app, ["export", "absent", *trust]).exit_code == 1
        assert (str(tmp_path) in sys.path) == bool(trust)
