"""Many runs from one command, and the table that they end in."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from support.program import PROJECT, SMALL, WAIT, Command
from tiny_mnist.errors import UserError, format_error
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps import job as sweep
from tiny_mnist.sweeps.progress import planned
from tiny_mnist.system.signals import ChildProcesses

JOB = (*SMALL, "trainer.limit_test_batches=1", "data.val_size=500")


@pytest.fixture(autouse=True)
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None is begun in this process, which is as if it were `python train.py`."""
    monkeypatch.setattr(sys, "argv", [str(PROJECT / "train.py")])
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


@pytest.mark.parametrize(
    ("overrides", "added"),
    [
        (["optim.max_lr=0.3,0.75", "++data.val_size=0"], False),
        (["optim.max_lr=0.3,0.75", "experiment=holdout"], False),
        (["optim.max_lr=0.3,0.75", "experiment=original"], True),
        (["experiment=holdout,original"], True),
        (["optim.max_lr=0.3,0.75", "~optim.optimizer.fused"], True),
    ],
)
def test_images_are_held_out_where_the_jobs_do_not_do_so_themselves(
    overrides: list[str], added: bool
) -> None:
    assert ("data.val_size=5000" in prepared(*overrides)) == added


def test_jobs_are_counted_and_folders_named_by_what_is_swept() -> None:
    given = prepared("trainer=cpu", "optim.max_lr=range(1,4)", "optim=adagrad,adamw", "seed=0")
    (excluded,) = (each for each in given if "exclude_keys" in each)
    assert excluded.endswith("=['trainer','seed','data.val_size']")
    assert sweep.current is not None
    assert sweep.current.jobs == 6


def test_no_more_jobs_run_side_by_side_than_there_are_so_that_each_has_its_share_of_cores() -> None:
    joblib = pytest.importorskip("joblib", reason="the extra sweep")
    least = f"hydra.launcher.n_jobs={min(2, joblib.cpu_count())}"
    assert least in prepared("seed=0,1", "hydra/launcher=joblib")
    said = prepared("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    assert [each for each in said if "n_jobs" in each] == ["hydra.launcher.n_jobs=1"]
    assert not any("n_jobs" in each for each in prepared("seed=0,1"))


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


def test_what_was_deleted_from_the_configuration_stays_so_in_a_resumed_sweep(
    tmp_path: Path,
) -> None:
    prepared("~optim.optimizer.fused", "seed=0,1")
    assert sweep.current is not None
    sweep.current.begin(tmp_path, parallel=False, shared=False)
    assert "~optim.optimizer.fused" in prepared(f"resume_sweep={tmp_path}")


def test_a_job_that_another_process_works_on_is_left_alone_and_has_not_failed(
    tmp_path: Path, compose: Callable[..., DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "0_seed=0"
    with RunFolder(folder).open():
        assert sweep.output_subdir(str(folder)) is None, "its configuration is not written over"
        assert math.isnan(sweep.run_job(not_to_be_called, compose(), folder, str))
    assert "0_seed=0: another process is training there" in capsys.readouterr().out
    assert not (folder / "failure.txt").exists()


def test_failures_of_jobs_that_were_finished_since_do_not_count(tmp_path: Path) -> None:
    for name in ("0_seed=0", "1_seed=1", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "failure.txt").write_text("why\n")
    (tmp_path / "0_seed=0" / "summary.json").touch()
    found = sweep.Sweep([], 2, resumed=True, folder=tmp_path).failures
    assert found == {"1_seed=1": "why", "notes": "why"}


def test_a_job_goes_on_with_the_configuration_that_it_was_begun_with(
    tmp_path: Path, compose: Callable[..., DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "0_seed=0")
    assert sweep.output_subdir(str(run.path)) == ".hydra"
    run.configuration.parent.mkdir(parents=True)
    OmegaConf.save(compose("optim.max_lr=0.5"), run.configuration)
    run.write_metrics(["epoch"], [{"epoch": 1}])
    assert sweep.output_subdir(str(run.path)) is None
    given = {}

    def train(config: DictConfig, folder: Path, resume: bool) -> float:
        given.update(max_lr=config.optim.max_lr, resume=resume)
        return 0.0

    sweep.run_job(train, compose("optim.max_lr=0.3"), run.path, str)
    assert given == {"max_lr": 0.5, "resume": True}
    assert "as it was begun, whatever else is said today of optim.max_lr" in capsys.readouterr().out


def not_to_be_called(*arguments: object, **options: object) -> float:
    raise AssertionError


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
    with pytest.raises(UserError, match="names the folders of its jobs itself"):
        prepared("seed=0,1", "hydra.sweep.subdir=mine")
    prepared("seed=0,1", "trainer=cpu,ddp")
    assert sweep.current is not None
    with pytest.raises(UserError, match="trainer=ddp starts several processes for each job"):
        sweep.current.begin(tmp_path / "new", parallel=True, shared=False)
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs Slurm's commands"):
        prepared("seed=0,1", "hydra/launcher=slurm")
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs hydra_joblib_launcher: pip install"):
        prepared("seed=0,1", "hydra/launcher=joblib")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="inside torchrun or srun"):
        prepared("seed=0,1")


def test_a_configuration_that_is_being_written_does_not_end_the_display(tmp_path: Path) -> None:
    path = tmp_path / "0_seed=0" / ".hydra" / "config.yaml"
    path.parent.mkdir(parents=True)
    for content in ("", "trainer:\n  max_ep", "trainer: {", "trainer:\n  max_epochs: x"):
        path.write_text(content)
        assert planned(path.parents[1]) is None
    path.write_text("trainer:\n  max_epochs: 3\n")
    assert planned(path.parents[1]) == 3


def test_what_a_launcher_dies_of_is_told_in_one_line() -> None:
    core = pytest.importorskip("submitit.core.utils", reason="the extra sweep")
    process = pytest.importorskip("joblib.externals.loky.process_executor")
    text = "Job 7 failed\nError stream:\n-----\nslurmstepd: killed\n"
    assert format_error(core.UncompletedJobError(text)) == "Slurm: Job 7 failed: slurmstepd: killed"
    assert format_error(core.FailedSubmissionError("no such account")) == "Slurm: no such account"
    assert "was killed" in str(format_error(process.TerminatedWorkerError("a\nb")))


def test_a_signal_comes_to_a_process_that_was_just_being_started() -> None:
    with ChildProcesses() as children:
        os.kill(os.getpid(), signal.SIGTERM)
        process = children.start([sys.executable, "-c", "import time; time.sleep(600)"])
        assert process.wait(WAIT) == -signal.SIGTERM
    assert children.received == [signal.SIGTERM]


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
