"""The Optuna sweeper: what is searched, that no trial is lost, and what is refused."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.program import PROJECT, SMALL, WAIT, Command, run_program
from support.waiting import wait_until

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from omegaconf import OmegaConf  # noqa: E402

JOB = (
    *SMALL, "data.val_size=500", "trainer.limit_test_batches=1",
    "optim.max_lr=tag(log,interval(0.05,2.0))", "optim=adagrad,adamw",
)  # fmt: skip
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=mine")


def add_override(folder: Path, override: str) -> None:
    """Change the sweep as if the settings of its further trials had come out worse."""
    path = folder / "multirun.yaml"
    sweep = OmegaConf.load(path)
    sweep.hydra.overrides.task.append(override)
    OmegaConf.save(sweep, path)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer=cpu"], "nothing to search for"),
        (["optim.max_lr=interval(0.1,1.0)", "optim.max_rl=1"], "there is no setting optim.max_rl"),
        (["optim.max_lr=interval(0.1,1.0)", "data.val_size=0"], "needs held-out images"),
        (["data.fold=0,1", "data.folds=2"], "data.fold is no setting to search"),
        (["optim.max_lr=interval(0.1,1.0)", "trainer=ddp"], "without trainer=ddp"),
        (["optim.max_lr=interval(-1,1.0)"], "optim.max_lr=-1"),
        (
            ["optim.max_lr=interval(0.1,1.0)", "hydra.sweeper.storage=unknown://host/study"],
            "hydra.sweeper.storage cannot be used as a study",
        ),
        (["optim.max_lr=interval(0.1,1.0)", "hydra.sweeper.n_trials=0"], "n_trials should be"),
    ],
)
def test_refused_search_leaves_no_folder(
    mnist_root: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_program(*SEARCH, *arguments, folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_search_without_a_key_for_held_out_images_is_refused(
    mnist_root: Path, tmp_path: Path
) -> None:
    """The own data module of a user evaluates on test images if its YAML has no `val_size`."""
    (tmp_path / "own.py").write_text(
        "from tiny_mnist.data import MNISTDataModule\n\n\nclass Own(MNISTDataModule):\n    pass\n"
    )
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "own.yaml").write_text("_target_: own.Own\nbatch_size: 128\n")
    folder = ("--config-dir", str(tmp_path / "conf"))
    search = (*SEARCH, "optim.max_lr=interval(0.1,1.0)", "data=own")
    done = run_program(*folder, *search, folder=tmp_path)
    assert done.status == 1
    assert "needs held-out images" in done.stderr
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_a_search_is_resumed_where_it_was_left_and_ends_in_a_table(
    command: Command, tmp_path: Path, mnist_root: Path
) -> None:
    """Killed within a trial, and then with two processes: no trial is lost or done twice."""
    folder = tmp_path / "mine"
    with subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *SEARCH, *JOB, "trainer.max_epochs=6"],
        cwd=tmp_path, env={**os.environ, "MNIST_ROOT": str(mnist_root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        second = "1_*/checkpoints/last.ckpt"
        wait_until(lambda: [*folder.glob(second)] or process.poll() is not None)
        assert process.poll() is None
        process.kill()
        process.communicate(timeout=WAIT)
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{folder}/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]

    done = command(
        "resume=mine", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in next(folder.glob("1_*/train.log")).read_text()
    assert [row["trial"] for row in rows(folder)] == [*"0123"]
    assert {row["state"] for row in rows(folder)} <= {"complete", "pruned"}
    assert len({row["optim.max_lr"] for row in rows(folder)}) == 4, "no settings twice"
    assert "4 of 4 trials" in done.stdout
    assert "python train.py -m trainer=cpu" in done.stdout
    for name in ("history", "epochs", "slices", "importances"):
        assert (folder / f"{name}.png").stat().st_size > 5_000

    done = command(*SEARCH, "optim.max_lr=interval(0.1,1.0)")
    assert done.returncode == 1
    assert "holds a sweep of" in done.stderr


@pytest.mark.slow
def test_trial_with_low_accuracy_is_pruned(command: Command, tmp_path: Path) -> None:
    """After five trials that learn, one that cannot is pruned."""
    good = (*SMALL, "data.val_size=500", "trainer.limit_test_batches=1", "trainer.max_epochs=3")
    pruner = ("hydra.sweeper.pruner.n_warmup_steps=0",)
    rotation = "data.rotation=interval(5.0,15.0)"
    done = command(*SEARCH, *good, *pruner, rotation, "hydra.sweeper.n_trials=5")
    assert done.returncode == 0, done.stderr
    again = ("resume=mine", "hydra/sweeper=optuna", *pruner)
    add_override(tmp_path / "mine", "optim.max_lr=1e-6")
    done = command(*again, "hydra.sweeper.n_trials=6")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "mine")[5]["state"] == "pruned"
    assert "pruned at" in next(tmp_path.glob("mine/5_*/pruned.txt")).read_text()


@pytest.mark.slow
def test_a_failed_trial_stops_no_other(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class FailSecond(Callback):\n"
        "    def on_fit_start(self, trainer, module):\n"
        "        if '/1_' in trainer.default_root_dir: raise ValueError('on purpose')\n"
    )
    fail = "+callbacks.fail._target_=mine.FailSecond"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = command(*SEARCH, *JOB, fail, "hydra.sweeper.n_trials=3", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in rows(tmp_path / "mine")] == ["complete", "fail", "complete"]
    assert next(tmp_path.glob("mine/1_*/failure.txt")).exists()
    assert "1 fail" in done.stdout


@pytest.mark.slow
def test_a_search_without_a_finished_trial_has_failed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Fail(Callback):\n"
        "    def on_fit_start(self, trainer, module): raise ValueError('on purpose')\n"
    )
    fail = ("+callbacks.fail._target_=mine.Fail", "hydra.sweeper.n_trials=1")
    done = command(*SEARCH, *JOB, *fail, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 1
    assert "1 fail" in done.stdout


@pytest.mark.slow
def test_error_that_concerns_all_trials_stops_the_search(command: Command, tmp_path: Path) -> None:
    one = "hydra.sweeper.n_trials=1"
    done = command(*SEARCH, *JOB, one, MNIST_ROOT="/proc/nowhere")
    assert done.returncode == 1
    assert "/proc/nowhere" in done.stderr.splitlines()[-1]
    assert "resume=mine" in done.stdout
    assert [row["state"] for row in rows(tmp_path / "mine")] == ["running"]
    done = command("resume=mine", "hydra/sweeper=optuna", one)
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in rows(tmp_path / "mine")] == ["complete"]
