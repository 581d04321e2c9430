"""The grid sweeper: jobs are checked first, none is lost, and a table ends every sweep."""

import csv
import errno
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from support.outcomes import weights
from support.program import PROJECT, SMALL, WAIT, Command
from support.waiting import wait_until
from tiny_mnist.config.loading import run_settings
from tiny_mnist.errors import DataError, UserError, format_error
from tiny_mnist.launch import resolvers  # noqa: F401 (registers what train.yaml names)
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps import job
from tiny_mnist.sweeps.grid_sweeper import GridSweeper, read_failures
from tiny_mnist.sweeps.plan import MULTIRUN, SweepPlan
from tiny_mnist.sweeps.progress import SweepProgress, read_planned_epochs
from tiny_mnist.system.signals import ChildProcesses, Interrupted

JOB = (*SMALL, "trainer.limit_test_batches=1", "data.val_size=500")


def make_jobs(
    *arguments: str, hydra: tuple[str, ...] = (), params: dict[str, str] | None = None
) -> list[list[str]]:
    """The jobs of a sweep as the sweeper hands them to the launcher."""
    sweeper, plan = make_plan(*arguments, hydra=hydra, params=params)
    return [each for batch in sweeper.make_batches(plan) for each in batch]


def make_plan(
    *arguments: str, hydra: tuple[str, ...] = (), params: dict[str, str] | None = None
) -> tuple[GridSweeper, SweepPlan]:
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(
            "train", [*arguments, *hydra, "hydra.job.name=train"], RunMode.MULTIRUN
        )
    sweeper = GridSweeper(params=params)
    sweeper.setup(
        hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
        task_function=lambda config: None,
        config=config,
    )
    return sweeper, SweepPlan(config, loader, list(arguments), params or {})


def held_out(jobs: list[list[str]]) -> bool:
    return all("data.val_size=5000" in job for job in jobs)


@pytest.mark.parametrize(
    ("overrides", "added"),
    [
        (["optim.max_lr=0.3,0.75", "seed=0,1"], True),
        (["seed=0,1,2"], False),
        (["optim.max_lr=0.3,0.75", "data.val_size=0"], False),
        (["optim.max_lr=0.3,0.75", "++data.val_size=0"], False),
        (["optim.max_lr=0.3,0.75", "experiment=holdout"], False),
        (["optim.max_lr=0.3,0.75", "experiment=original"], True),
        (["experiment=holdout,original"], True),
        (["optim.max_lr=0.3,0.3"], False),
        (["data.fold=0,1,2", "data.folds=3"], False),
        (["data.fold=0,1,2", "data.folds=3", "optim.max_lr=0.3,0.75"], False),
    ],
)
def test_images_are_held_out_where_jobs_differ_and_do_not_all_hold_some_out(
    overrides: list[str], added: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert held_out(make_jobs(*overrides)) == added
    assert ("Ranking on 5,000 held-out" in capsys.readouterr().out) == added


def test_a_sweep_in_hydra_sweeper_params_and_one_with_glob_hold_images_out() -> None:
    jobs = make_jobs("seed=0,1", params={"optim.max_lr": "0.3,0.75"})
    assert len(jobs) == 4
    assert held_out(jobs)
    jobs = make_jobs("optim=glob(*)")
    assert {each.partition("=")[2] for job in jobs for each in job if "optim=" in each} == {
        "adagrad", "adamw", "sgd",
    }  # fmt: skip
    assert held_out(jobs)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.max_lr=0.3,-1"], "optim.max_lr=-1: optim.max_lr=-1 should be greater than 0"),
        (["optim.max_lr=interval(0.1,1)"], "search it with hydra/sweeper=optuna"),
        (["trainer=cpu,ddp", "hydra/launcher=joblib"], "which no launcher does"),
        (
            ["seed=0,1", "trainer.strategy=ddp_static_graph", "hydra/launcher=joblib"],
            "trainer.strategy=ddp_static_graph starts several processes",
        ),
        (["+callbacks.x._target_=no.Such,no.Other"], "callbacks.x._target_=no.Such"),
        (["model=mlp", "model.hidden=0,12"], "hidden=0 should be at least 1"),
        (["optim.max_lr=0.3,0.5", "hydra.sweep.subdir=x"], "names the folders of its jobs itself"),
    ],
)
def test_invalid_sweep_is_refused_before_a_folder_is_made(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    monkeypatch.chdir(tmp_path)
    own = tuple(each for each in overrides if each.startswith("hydra"))
    with pytest.raises(UserError) as caught:
        make_jobs(*(each for each in overrides if each not in own), hydra=own)
    assert message in str(caught.value)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("strategy", "several"),
    [
        ("auto", False),
        ("single_device", False),
        ("ddp", True),
        ("ddp_find_unused_parameters_true", True),
        ("fsdp", True),
    ],
)
def test_which_strategies_need_processes_of_their_own(
    compose: Callable[..., DictConfig], strategy: str, several: bool
) -> None:
    assert job.needs_processes(compose(f"trainer.strategy={strategy}")) == several


def test_slurm_without_its_commands_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra sweep")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch and srun, not found"):
        make_jobs("seed=0,1", hydra=("hydra/launcher=slurm",))


def test_a_sweep_inside_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="inside torchrun or srun"):
        make_jobs("seed=0,1")


def test_names_of_job_directories_are_short_and_plain() -> None:
    assert job.job_folder(3, "optim.max_lr=0.5,seed=0") == "3_optim.max_lr=0.5,seed=0"
    assert job.job_folder(0, "") == "0"
    assert job.job_folder(1, "data.root=/some where/else") == "1_data.root=_some_where_else"
    name = job.job_folder(12, "x" * 400)
    assert len(name) <= 120
    assert name.startswith("12_x")


def begun(folder: Path, *overrides: str) -> Path:
    """A sweep folder whose `multirun.yaml` holds these task overrides."""
    folder.mkdir(exist_ok=True)
    content = {"hydra": {"overrides": {"task": list(overrides)}}}
    OmegaConf.save(OmegaConf.create(content), folder / MULTIRUN)
    return folder


def test_a_resumed_sweep_takes_its_overrides_from_the_folder(tmp_path: Path) -> None:
    begun(tmp_path, "optim.max_lr=0.3,0.75", "data.val_size=500", "optim=sgd")
    jobs = make_jobs(f"resume={tmp_path}")
    assert jobs == [
        ["optim.max_lr=0.3", "data.val_size=500", "optim=sgd"],
        ["optim.max_lr=0.75", "data.val_size=500", "optim=sgd"],
    ]
    with pytest.raises(UserError, match="takes no setting but those of hydra"):
        make_jobs(f"resume={tmp_path}", "seed=1")


@pytest.mark.parametrize(
    "hostile",
    [
        "debug=../../runs/sweeps/stranger/note",
        "debug=limit,../note",
        "model@hydra.callbacks.e=tiny_cnn",
        "hydra.callbacks.e._target_=os.abort",
        "hydra/launcher=joblib",
        "+hydra.searchpath=[file:///tmp]",
        "trust=true",
        "resume=latest",
        "++model._target_=os.abort",
        "+optim.optimizer={_target_: os.abort}",
        "no_such_key=1",
        "-x",
        "seed=1\nhydra.x=1",
        "data.root='\x1b[31m'",
    ],
)
def test_saved_override_that_could_run_code_is_refused(tmp_path: Path, hostile: str) -> None:
    begun(tmp_path, "seed=0,1", hostile)
    with pytest.raises(UserError) as caught:
        make_jobs(f"resume={tmp_path}")
    assert len(str(caught.value).splitlines()) == 1


def test_foreign_class_in_a_folder_is_refused_without_trust(tmp_path: Path) -> None:
    """Composed from a value, where no text of the overrides gives it away."""
    begun(tmp_path, "seed=0,1", "data.root=${oc.env:HOME}")
    with pytest.raises(UserError, match=r"oc\.env"):
        make_jobs(f"resume={tmp_path}")
    assert all("trust=true" in each for each in make_jobs(f"resume={tmp_path}", "trust=true"))


@pytest.mark.parametrize("word", ["no", "off"])
def test_trust_that_is_not_a_boolean_is_refused(tmp_path: Path, word: str) -> None:
    begun(tmp_path, "seed=0,1")
    with pytest.raises(UserError, match=f"trust={word}: say trust=true or trust=false"):
        make_jobs(f"resume={tmp_path}", f"trust={word}")


@pytest.mark.parametrize("content", ["{", "[]", "hydra: 1", "hydra: {overrides: {task: [1]}}"])
def test_folder_without_a_sweep_is_not_resumed(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="no sweep to resume"):
        make_jobs(f"resume={tmp_path}")
    (tmp_path / MULTIRUN).write_text(content)
    with pytest.raises(UserError):
        make_jobs(f"resume={tmp_path}")


def test_the_resuming_command_names_the_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    monkeypatch.chdir(tmp_path)
    sweeper, plan = make_plan("seed=0,1", hydra=("hydra/launcher=joblib", "hydra.sweep.dir=mine"))
    sweeper.make_batches(plan)
    assert plan.resuming_command.startswith("python train.py resume=mine hydra/launcher=joblib")
    plan.begin()
    with pytest.raises(UserError, match="already holds a sweep"):
        make_jobs("seed=0,1", hydra=("hydra.sweep.dir=mine",))


def test_the_resuming_command_names_the_folder_of_the_users_own_configurations(
    command: Command, tmp_path: Path
) -> None:
    begun(tmp_path / "mine", "seed=0,1")
    (tmp_path / "conf").mkdir()
    done = command("--config-dir", "conf", "-m", "seed=0,1", "hydra.sweep.dir=mine")
    assert "go on with python train.py --config-dir=conf resume=mine" in done.stderr


def test_the_resuming_command_trusts_classes_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from tiny_mnist.models.tiny_cnn import TinyCNN\nclass Network(TinyCNN): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for overrides, trusts in (((), False), (("model._target_=mine.Network",), True)):
        hydra = (f"hydra.sweep.dir={len(overrides)}",)
        sweeper, plan = make_plan("seed=0,1", *overrides, hydra=hydra)
        for settings in sweeper.make_batches(plan)[0]:
            plan.compose(settings)
        assert ("trust=true" in plan.resuming_command) == trusts


def test_a_begun_job_goes_on_with_classes_of_the_users_own_unless_they_were_changed(
    tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    config = run_settings(compose("model._target_=mine.Network"))
    saved = tmp_path / "job" / ".hydra" / "config.yaml"
    saved.parent.mkdir(parents=True)
    OmegaConf.save(config, saved)
    own = job.load_job_config(saved, config, trust=False)
    assert own.model._target_ == "mine.Network"
    OmegaConf.save({**config, "model": {"_target_": "other.Network"}}, saved)
    with pytest.raises(UserError, match=r"other\.Network"):
        job.load_job_config(saved, config, trust=False)


def test_a_job_that_another_process_works_on_is_left_alone_and_has_not_failed(
    tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    folder = tmp_path / "0_seed=0"
    with RunFolder(folder).open():
        assert math.isnan(job.run_sweep_job(not_to_be_called, compose(), folder))
    assert not (folder / "failure.txt").exists()
    assert not (folder / ".hydra").exists()


def test_a_job_that_fails_records_why_and_stops_no_other(
    tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    def fail(config: DictConfig, folder: Path, resume: bool) -> float:
        raise UserError("for a reason")

    folder = tmp_path / "0_seed=0"
    assert math.isnan(job.run_sweep_job(fail, compose(), folder))
    assert read_failures(tmp_path) == {"0_seed=0": "for a reason"}

    def succeed(config: DictConfig, folder: Path, resume: bool) -> float:
        return 99.0

    assert job.run_sweep_job(succeed, compose(), folder) == 99
    assert read_failures(tmp_path) == {}


@pytest.mark.parametrize(
    ("overrides", "stops"),
    [
        (["seed=0,1", "data.root=nowhere"], True),
        (["data.root=nowhere,elsewhere"], False),
        (["data=mnist,fashion_mnist"], False),
    ],
)
def test_images_that_are_missing_stop_the_jobs_that_need_them(
    overrides: list[str], stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper, plan = make_plan(*overrides)
    for arguments in sweeper.make_batches(plan)[0]:
        config = plan.loader.load_sweep_config(plan.config, arguments)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
        assert job.stops_every_job(DataError("no images"), job.swept_keys()) == stops
        assert not job.stops_every_job(UserError("too few"), job.swept_keys())
        assert job.stops_every_job(OSError(errno.ENOSPC, "full"), job.swept_keys())


def test_failures_of_jobs_that_were_finished_since_do_not_count(tmp_path: Path) -> None:
    for name in ("0_seed=0", "1_seed=1", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "failure.txt").write_text("why\n")
    (tmp_path / "0_seed=0" / "summary.json").touch()
    assert read_failures(tmp_path) == {"1_seed=1": "why", "notes": "why"}


def test_reasons_of_failures_are_read_with_care_and_shown_without_escapes(tmp_path: Path) -> None:
    for name in ("0_\x1b[31m", "1_fifo", "2_sparse"):
        (tmp_path / name).mkdir()
    (tmp_path / "0_\x1b[31m" / "failure.txt").write_text("\x1b]0;title\x07 why")
    os.mkfifo(tmp_path / "1_fifo" / "failure.txt")
    os.mkfifo(tmp_path / "1_fifo" / "summary.json")
    with (tmp_path / "2_sparse" / "failure.txt").open("wb") as file:
        file.truncate(64 << 30)
    found = read_failures(tmp_path)
    assert all(f"{name}{reason}".isprintable() for name, reason in found.items())
    assert found["0_\\x1b[31m"].endswith("why")
    assert found["1_fifo"].endswith("is not a regular file")
    assert "more than" in found["2_sparse"]


@pytest.mark.parametrize("name", ["summary.json", "failure.txt", "metrics.csv"])
def test_progress_display_does_not_block_on_fifos(tmp_path: Path, name: str) -> None:
    path = tmp_path / "0_seed=0" / ".hydra" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("trainer: {max_epochs: 3}")
    os.mkfifo(tmp_path / "0_seed=0" / name)
    progress = SweepProgress(tmp_path, 1)
    progress.refresh()
    assert progress.endings == {}
    (tmp_path / "0_seed=0" / name).unlink()
    with (tmp_path / "0_seed=0" / name).open("wb") as file:
        file.truncate(64 << 30)
    SweepProgress(tmp_path, 1).refresh()


def test_a_job_folder_that_is_a_link_is_refused(
    tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "0_seed=0").symlink_to("elsewhere")
    with pytest.raises(UserError, match="is a symbolic link"):
        job.run_sweep_job(not_to_be_called, compose(), tmp_path / "0_seed=0")
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    (tmp_path / "elsewhere" / "runs").mkdir()
    (tmp_path / "runs").symlink_to("elsewhere/runs")
    done = job.run_sweep_job(lambda *_, **__: 99.0, compose(), tmp_path / "runs" / "0_seed=0")
    assert done == 99


@pytest.mark.parametrize("override", ["resume=a,b", "trust=true,false"])
def test_launch_keys_cannot_be_swept(override: str) -> None:
    with pytest.raises(UserError, match="takes one value in a sweep"):
        make_plan("seed=0,1", override)


@pytest.mark.parametrize("size", [-3, 0, "abc", 1.5, True])
def test_invalid_max_batch_size_is_refused(size: Any) -> None:
    sweeper, plan = make_plan("seed=0,1")
    sweeper.max_batch_size = size
    sweeper.config = plan.config
    with pytest.raises(UserError, match="max_batch_size should be a whole number of at least 1"):
        sweeper.sweep([])


def test_n_jobs_of_zero_is_refused() -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    with pytest.raises(UserError, match=r"hydra\.launcher\.n_jobs should be a whole number"):
        make_plan("seed=0,1", hydra=("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"))


def test_a_job_is_resumed_with_the_configuration_that_it_was_begun_with(
    tmp_path: Path, compose: Callable[..., DictConfig], caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(tmp_path / "0_seed=0")
    run.configuration.parent.mkdir(parents=True)
    OmegaConf.save(compose("optim.max_lr=0.5"), run.configuration)
    run.write_metrics(["epoch"], [{"epoch": 1}])
    given: dict[str, Any] = {}

    def train(config: DictConfig, folder: Path, resume: bool) -> float:
        given.update(max_lr=config.optim.max_lr, resume=resume)
        return 0.0

    job.run_sweep_job(train, compose("optim.max_lr=0.3"), run.path)
    assert given == {"max_lr": 0.5, "resume": True}
    assert "Resuming with the saved configuration; ignoring changes to optim.max_lr" in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_job_whose_summary_is_damaged_is_finished_again(
    tmp_path: Path, compose: Callable[..., DictConfig], content: str
) -> None:
    run = RunFolder(tmp_path / "0_seed=0")
    run.configuration.parent.mkdir(parents=True)
    OmegaConf.save(compose(), run.configuration)
    run.summary.write_text(content)
    assert SweepProgress(tmp_path, 1).ending(run.path) is None

    def train(config: DictConfig, folder: Path, resume: bool) -> float:
        assert resume
        return 99.0

    assert job.run_sweep_job(train, compose(), run.path) == 99


def test_a_job_without_test_images_is_finished(
    tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    run = RunFolder(tmp_path / "0_seed=0")
    run.configuration.parent.mkdir(parents=True)
    OmegaConf.save(compose(), run.configuration)
    for accuracy, told in ((98.5, "val 98.50 %  2.0 s"), (None, "not evaluated  2.0 s")):
        summary = {"val_images": 60, "val_accuracy": accuracy, "test_accuracy": None}
        run.write_summary({**summary, "training_seconds": 2})
        assert SweepProgress(tmp_path, 1).ending(run.path) == told
        found = job.run_sweep_job(not_to_be_called, compose(), run.path)
        assert math.isnan(found) if accuracy is None else found == accuracy


def not_to_be_called(*arguments: object, **options: object) -> float:
    raise AssertionError


def test_a_configuration_that_is_being_written_does_not_end_the_display(tmp_path: Path) -> None:
    path = tmp_path / "0_seed=0" / ".hydra" / "config.yaml"
    path.parent.mkdir(parents=True)
    for content in ("", "trainer:\n  max_ep", "trainer: {", "trainer:\n  max_epochs: x"):
        path.write_text(content)
        assert read_planned_epochs(path.parents[1]) is None
    path.write_text("trainer:\n  max_epochs: 3\n")
    assert read_planned_epochs(path.parents[1]) == 3


def test_launcher_error_is_reported_in_one_line() -> None:
    core = pytest.importorskip("submitit.core.utils", reason="the extra sweep")
    process = pytest.importorskip("joblib.externals.loky.process_executor")
    text = "Job 7 failed\nError stream:\n-----\nslurmstepd: killed\n"
    assert format_error(core.UncompletedJobError(text)) == "Slurm: Job 7 failed: slurmstepd: killed"
    assert format_error(core.FailedSubmissionError("no such account")) == "Slurm: no such account"
    assert "was killed" in str(format_error(process.TerminatedWorkerError("a\nb")))


def test_signal_reaches_a_process_that_is_being_started() -> None:
    with ChildProcesses() as children:
        os.kill(os.getpid(), signal.SIGTERM)
        process = children.start([sys.executable, "-c", "import time; time.sleep(600)"])
        assert process.wait(WAIT) == -signal.SIGTERM
    assert children.received == [signal.SIGTERM]


@pytest.mark.slow
def test_sweep_ends_in_a_table_and_can_be_resumed(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    swept = (*JOB, "optim.max_lr=0.3,0.75", "seed=0,1", "hydra.sweep.dir=mine")
    done = command("-m", *swept)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0_optim.max_lr=0.3,seed=0  val " in done.stdout
    assert "TRAINING METRICS" not in done.stdout
    assert [path.name.partition("_")[0] for path in sorted(folder.glob("*_*/"))] == [*"0123"]
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
    done = command("resume=mine")
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.stat().st_mtime_ns == before
    assert weights(folder) == first

    done = command("-m", *swept)
    assert done.returncode == 1
    assert "mine already holds a sweep" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_signal_ends_a_sweep_in_a_table_of_what_is_finished(
    mnist_root: Path, tmp_path: Path, launcher: str, number: signal.Signals
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    arguments = (*JOB, "trainer.max_epochs=1,500", "hydra.sweep.dir=mine")
    with subprocess.Popen(
        [sys.executable, PROJECT / "train.py", "-m", *arguments, f"hydra/launcher={launcher}"],
        cwd=tmp_path, env={**os.environ, "MNIST_ROOT": str(mnist_root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # The tests themselves may run under nohup, or in the background of a shell.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 (sets no more)
    ) as process:  # fmt: skip
        wait_until(lambda: [*tmp_path.glob("mine/1_*/metrics.csv")])
        wait_until(lambda: [*tmp_path.glob("mine/0_*/summary.json")])
        process.send_signal(number)  # to the parent alone, as `kill` does
        said, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 128 + number, errors
    assert errors == f"interrupted by {number.name}\n"
    assert "1 of 2 jobs finished" in said
    assert "python train.py resume=mine" in said
    assert (tmp_path / "mine" / "sweep.csv").exists()
    left = RunFolder(next(tmp_path.glob("mine/1_*")))
    assert left.last_checkpoint.exists()
    assert not left.is_locked, "no process trains on"


def run_jobs_with_a_signal_between(config: DictConfig, folder: Path) -> None:
    """What a process of a pool does; its exit status is 3 if the second job is interrupted."""
    job.run_sweep_job(lambda *arguments, **options: 99.0, config, folder / "0")
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        job.run_sweep_job(lambda *arguments, **options: 99.0, config, folder / "1")
    except Interrupted:
        sys.exit(3)


def test_a_process_of_a_pool_outlives_a_signal_between_jobs(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Else it could end with the lock of the pool's results, and the sweep would wait forever."""
    (tmp_path / "0").mkdir()
    process = multiprocessing.get_context("spawn").Process(
        target=run_jobs_with_a_signal_between, args=(compose(), tmp_path)
    )
    process.start()
    process.join(WAIT)
    assert process.exitcode == 3
    assert not (tmp_path / "1").exists()


@pytest.mark.slow
def test_sweep_with_a_closed_pipe_can_be_resumed(mnist_root: Path, tmp_path: Path) -> None:
    """`python train.py -m … | head -1`."""
    arguments = (*JOB, "trainer.max_epochs=1,500", "hydra.sweep.dir=mine")
    with subprocess.Popen(
        [sys.executable, PROJECT / "train.py", "-m", *arguments],
        cwd=tmp_path, env={**os.environ, "MNIST_ROOT": str(mnist_root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=WAIT)
    assert process.returncode == 128 + signal.SIGPIPE, errors
    assert errors == "interrupted by SIGPIPE\n"
    assert (tmp_path / "mine" / "multirun.yaml").exists()


@pytest.mark.slow
def test_parallel_jobs_give_bit_identical_weights(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the extra sweep")
    swept = ("-m", *JOB, "optim.max_lr=0.3", "seed=0,1")
    one_thread = {"OMP_NUM_THREADS": "1"}
    command(*swept, "hydra.sweep.dir=one", **one_thread)
    done = command(*swept, "hydra.sweep.dir=two", "hydra/launcher=joblib", **one_thread)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0_seed=0  val " in done.stdout
    assert len(weights(tmp_path / "one")) == 2
    assert weights(tmp_path / "two") == weights(tmp_path / "one")


@pytest.mark.slow
def test_threads_are_divided_among_parallel_jobs(command: Command, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="the extra sweep")
    done = command(
        "-m", *JOB, "seed=0,1", "hydra.sweep.dir=mine", "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2", OMP_NUM_THREADS="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in tmp_path.glob("mine/*/summary.json")]
    assert [each["threads"] for each in found] == [max(1, joblib.cpu_count() // 2)] * 2


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
