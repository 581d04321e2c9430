"""`python train.py` as a user runs it."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.program import PROJECT, SMALL, Command, run_program


def test_a_run_prints_the_originals_table_and_nothing_from_libraries(
    command: Command, tmp_path: Path
) -> None:
    done = command("debug=batch")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(line.split() == ["total", "9,594"] for line in lines)
    at = lines.index("TRAINING METRICS SUMMARY")
    assert lines[at + 2].split() == [
        "Epoch", "Train_Loss", "Test_Loss", "Train_Accuracy", "Test_Accuracy", "Learning_Rate",
    ]  # fmt: skip
    closing = lines[at + 5 :]
    assert [line.partition(":")[0] for line in closing] == [
        "Test accuracy", "Time", "Run folder", "Curves",
    ]  # fmt: skip
    assert "500 of the test images" in closing[0]
    assert not any(word in done.stdout for word in ("INFO", "Tip", "Warning", "GPU available"))
    run = tmp_path / closing[2].removeprefix("Run folder: ")
    assert {path.name for path in run.iterdir() if "tfevents" not in path.name} == {
        ".hydra", "train.log", "metrics.csv", "summary.json", "checkpoints", "train", "test",
        "curves.png", "predictions_visualization.png", "confusion_matrix.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optim.max_lr=-1"], "optim.max_lr=-1 should be greater than 0"),
        (["data.batch_size=0"], "data.batch_size=0 should be greater than or equal to 2"),
        (["data.val_size=70000"], "data.val_size=70000 should be less than 60000"),
        (["optim.max_rl=1"], "there is no setting optim.max_rl"),
        (["optim=adagard"], "there is no optim=adagard; did you mean adagrad?"),
        (["optim.max_lr"], "optim.max_lr cannot be read as key=value"),
        (["data.root=~/mnist"], """as in 'data.root="~/mnist"'"""),
        (["seed=0,1"], "seed=0,1 is more than one value; add -m"),
        (["optim=3"], "a group takes the name of an option"),
        (["+optim.optimizer.foo=1"], "unexpected keyword argument 'foo'"),
        (
            ["optim.optimizer._target_=torch.optim.SparseAdam", "~optim.optimizer.fused"],
            "SparseAdam",
        ),
        (["trainer.accelerator=tpu", "hydra.run.dir=run"], "no trainer with accelerator=tpu"),
        (["data.root=/proc/x", "hydra.run.dir=run"], "the data folder /proc/x does not exist"),
        (
            ["debug=batch", "optim.scheduler.pct_start=1.0", "hydra.run.dir=run"],
            "optim cannot be built",
        ),
        (["hydra.run.dir=/proc/nowhere"], "/proc/nowhere"),
        (["trainer=cpu", "++trainer.sync_batchnorm=true", "hydra.run.dir=run"], "needs GPUs"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    mnist_root: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_program(*arguments, folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_hydra_full_error_gives_the_traceback(command: Command) -> None:
    done = command("optim.max_lr=-1", HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "UserError: optim.max_lr=-1" in done.stderr


def test_a_folder_with_other_runs_below_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine" / ".hydra").mkdir(parents=True)
    for folder in ("", "runs"):
        done = run_program(f"hydra.run.dir={folder}", "debug=batch", folder=tmp_path)
        assert done.status == 1
        assert "name a folder of its own" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "mine", ".hydra"]


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.csv").write_text("epoch\n")
    done = run_program("hydra.run.dir=mine", "debug=batch", folder=tmp_path)
    assert done.status == 1
    assert "already holds a run" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["-sc", "query=bash"]])
def test_help_configuration_and_completion_do_not_load_torch(
    command: Command, arguments: list[str]
) -> None:
    done = command(*arguments, PYTHONPROFILEIMPORTTIME="1", COMP_LINE="train.py optim=")
    assert done.returncode == 0
    assert "hydra" in done.stderr, "imports are listed there"
    assert not any(line.endswith((" torch", " lightning")) for line in done.stderr.splitlines())


def test_help_shows_groups_options_and_examples(command: Command) -> None:
    text = command("--help").stdout
    assert "optim: adagrad, adamw" in text
    assert "trainer: auto, cpu, ddp, gpu" in text
    assert "python train.py optim.max_lr=0.5 trainer.max_epochs=3 data.batch_size=256" in text


@pytest.mark.slow
def test_two_processes_share_each_batch(command: Command, tmp_path: Path) -> None:
    done = command(*SMALL[1:], "trainer=ddp", "trainer.accelerator=cpu", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    expected = {"processes": 2, "steps": 20, "training_images": 1000, "test_images": 10_000}
    assert {key: summary[key] for key in expected} == expected
    assert (summary["train_accuracy"] * 10).is_integer(), "each image counted once"


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_evaluate_and_export_refuse_a_folder_that_is_no_run(command: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from tiny_mnist.cli import app; app()", command, "nowhere"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout + done.stderr == "error: nowhere is no run folder, such as runs/2026-…\n"


def test_on_a_terminal_the_progress_bar_is_removed_and_each_epoch_keeps_its_line(
    mnist_root: Path, tmp_path: Path
) -> None:
    terminal, slave = pty.openpty()
    size = {"COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *SMALL],
        cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, **size, "MNIST_ROOT": str(mnist_root)},
    ) as process:  # fmt: skip
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end was closed
            while part := os.read(terminal, 1 << 16):
                said += part
    os.close(terminal)
    assert process.returncode == 0, said
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").splitlines()]
    assert "━" in text
    assert re.search(r"Epoch 1/2 .* loss: \d.* accuracy: .* %", text)
    assert re.search(r"Evaluating \(test\) loss: \d.* accuracy: .* %", text)
    assert [line[:10] for line in lines if re.match(r"Epoch  \d/2  train", line)] == [
        "Epoch  1/2", "Epoch  2/2",
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in lines if "━" in line), "no bar is wrapped"
