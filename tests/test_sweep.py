"""Many runs from one command, and the table that they end in."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PROJECT, SMALL, Command
from tiny_mnist import sweep
from tiny_mnist.errors import UserError
from tiny_mnist.run import RunFolder

JOB = (*SMALL, "trainer.limit_test_batches=1", "data.val_size=500")
WAIT = 600  # seconds: machines are busy


@pytest.fixture(autouse=True)
def no_sweep() -> Iterator[None]:
    """None is begun in this process."""
    yield
    sweep.current = None


def prepared(*arguments: str) -> list[str]:
    return sweep.prepare(["-m", *arguments])


def weights(folder: Path) -> dict[str, str]:
    """The checksum of each job's weights, by its folder's name."""
    found = folder.glob("*/summary.json")
    return {path.parent.name: json.loads(path.read_text())["weights_sha256"] for path in found}


def test_a_sweep_that_chooses_holds_images_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.val_size=5000" in prepared("optim.max_lr=0.3,0.75", "seed=0,1")
    assert "Ranking on 5,000 held-out training images" in capsys.readouterr().out
    assert not any("data.val_size=" in each for each in prepared("seed=0,1,2"))
    given = prepared("optim.max_lr=0.3,0.75", "data.val_size=0")
    assert [each for each in given if each.startswith("data.val_size=")] == ["data.val_size=0"]
    assert capsys.readouterr().out == ""


def test_jobs_are_counted_and_folders_named_by_what_is_swept() -> None:
    given = prepared("trainer=cpu", "optim.max_lr=range(1,4)", "optim=adagrad,adamw", "seed=0")
    (excluded,) = (each for each in given if "exclude_keys" in each)
    assert excluded.endswith("=['trainer','seed','data.val_size']")
    assert sweep.current is not None
    assert sweep.current.jobs == 6


def test_names_of_folders_are_short_and_plain() -> None:
    assert sweep.job_folder(3, "optim.max_lr=0.5,seed=0") == "3_optim.max_lr=0.5,seed=0"
    assert sweep.job_folder(0, "") == "0"
    assert sweep.job_folder(1, "data.root=/some where/else") == "1_data.root=_some_where_else"
    name = sweep.job_folder(12, "x" * 400)
    assert len(name) <= 120
    assert name.startswith("12_x")


def test_a_resumed_sweep_is_the_one_of_its_folder_and_takes_nothing_of_hydra_from_it(
    tmp_path: Path,
) -> None:
    overrides = ["optim.max_lr=0.3,0.75", "hydra.callbacks.x._target_=os.abort", "--cfg=job"]
    (tmp_path / "sweep.json").write_text(json.dumps({"overrides": overrides}))
    given = prepared(f"resume_sweep={tmp_path}", "hydra/launcher=basic")
    assert "optim.max_lr=0.3,0.75" in given
    assert f"hydra.sweep.dir='{tmp_path}'" in given
    assert "hydra/launcher=basic" in given
    assert not any("abort" in each or "--cfg" in each for each in given)


@pytest.mark.parametrize("content", ["{", "[]", '{"overrides": [1]}', '{"overrides": ["-x"]}'])
def test_what_is_no_sweep_is_not_resumed(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="no sweep to resume"):
        prepared(f"resume_sweep={tmp_path}")
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="is not the command of a sweep"):
        prepared(f"resume_sweep={tmp_path}")


def test_what_cannot_be_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="takes no setting but those of hydra"):
        prepared(f"resume_sweep={tmp_path}", "seed=1")
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs hydra_joblib_launcher: pip install"):
        prepared("seed=0,1", "hydra/launcher=joblib")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="inside torchrun or srun"):
        prepared("seed=0,1")


@pytest.mark.slow
def test_a_sweep_ends_in_a_table_loses_none_and_goes_on(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    swept = (*JOB, "optim.max_lr=-1,0.3,0.75", "seed=0,1", "hydra.sweep.dir=mine")
    done = command("-m", *swept)
    assert done.returncode == 1
    reason = "optim.max_lr=-1 should be greater than 0"
    assert done.stderr.splitlines() == [
        f"job 0_optim.max_lr=-1,seed=0: {reason}",
        f"job 1_optim.max_lr=-1,seed=1: {reason}",
    ]
    assert "4 of 6 jobs finished, 2 failed" in done.stdout
    assert "python train.py -m resume_sweep=mine" in done.stdout
    assert [path.name.partition("_")[0] for path in sorted(folder.glob("*_*/"))] == [*"012345"]
    with (folder / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(float(row["optim.max_lr"]) for row in rows) == [0.3, 0.75]
    assert {(row["runs"], row["ranked_on"]) for row in rows} == {("2", "val")}
    assert (folder / "sweep.png").stat().st_size > 10_000
    first = weights(folder)
    assert len(first) == 4

    # One job is lost, and one is begun: both come to what they were.
    lost, begun = sorted(first)[0], sorted(first)[-1]
    for path in sorted((folder / lost).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (folder / lost).rmdir()
    RunFolder(folder / begun).summary.unlink()
    RunFolder(folder / begun).last_checkpoint.unlink()  # the one of epoch 1 is kept beside it
    kept = folder / sorted(first)[1] / "summary.json"
    before = kept.stat().st_mtime_ns
    done = command("-m", "resume_sweep=mine")
    assert done.returncode == 1
    assert "Going on after step 10" in done.stdout
    assert kept.stat().st_mtime_ns == before
    assert weights(folder) == first

    done = command("-m", *swept)
    assert done.returncode == 1
    assert "mine already holds a sweep" in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_in_a_table_of_what_is_finished(
    mnist_root: Path, tmp_path: Path
) -> None:
    arguments = (*JOB, "trainer.max_epochs=1,500", "hydra.sweep.dir=mine")
    with subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), "-m", *arguments],
        cwd=tmp_path, env={**os.environ, "MNIST_ROOT": str(mnist_root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + WAIT
        while not [*tmp_path.glob("mine/1_*/metrics.csv")] and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 130, errors
    assert errors == "interrupted by SIGINT\n"
    assert "1 of 2 jobs finished" in said
    assert (tmp_path / "mine" / "sweep.csv").exists()
    assert RunFolder(next(tmp_path.glob("mine/1_*"))).last_checkpoint.exists()


@pytest.mark.slow
def test_jobs_side_by_side_come_to_the_same_bits(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    swept = ("-m", *JOB, "optim.max_lr=-1,0.3", "seed=0,1")
    one_thread = {"OMP_NUM_THREADS": "1"}
    command(*swept, "hydra.sweep.dir=one", **one_thread)
    done = command(*swept, "hydra.sweep.dir=two", "hydra/launcher=joblib", **one_thread)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "0_optim.max_lr=-1,seed=0  failed: optim.max_lr=-1 should be" in done.stdout
    assert "TRAINING METRICS" not in done.stdout, "jobs do not talk at the same time"
    assert "2 of 4 jobs finished, 2 failed" in done.stdout
    assert len(weights(tmp_path / "one")) == 2
    assert weights(tmp_path / "two") == weights(tmp_path / "one")


@pytest.mark.slow
def test_threads_are_divided_among_jobs_side_by_side(command: Command, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="the extra sweep")
    done = command(
        "-m", *JOB, "seed=0,1", "hydra.sweep.dir=mine", "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2", OMP_NUM_THREADS="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("mine/*/summary.json"):
        assert json.loads(path.read_text())["threads"] == max(1, joblib.cpu_count() // 2)


@pytest.mark.slow
def test_jobs_of_several_processes_can_be_swept(command: Command, tmp_path: Path) -> None:
    done = command(
        "-m", *JOB[1:], "trainer=ddp", "trainer.accelerator=cpu", "seed=0,1",
        "hydra.sweep.dir=mine",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = [json.loads(path.read_text()) for path in tmp_path.glob("mine/*/summary.json")]
    assert [(each["processes"], each["steps"]) for each in found] == [(2, 20), (2, 20)]
    assert {path.name for path in (tmp_path / "mine").glob("*_*")} == {"0_seed=0", "1_seed=1"}
