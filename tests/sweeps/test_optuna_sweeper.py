"""Searching for good settings: what is searched, and that no trial is lost."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.program import PROJECT, SMALL, WAIT, Command
from tiny_mnist.errors import UserError

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from tiny_mnist.sweeps.search import Options, Search, read_options, space  # noqa: E402

JOB = (
    *SMALL, "data.val_size=500", "trainer.limit_test_batches=1",
    "optim.max_lr=tag(log,interval(0.05,2.0))", "optim=adagrad,adamw",
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "search.csv").open() as file:
        return list(csv.DictReader(file))


def test_hydras_grammar_says_what_is_searched() -> None:
    searched, constant = space(
        [
            "trainer=cpu", "optim.max_lr=tag(log,interval(0.1,2))",
            "data.rotation=interval(5,20.0)", "data.translation=int(interval(0,4))",
            "data.batch_size=range(32,129,32)", "optim=adagrad,adamw",
        ]
    )  # fmt: skip
    assert constant == ["trainer=cpu"]
    assert searched == {
        "optim.max_lr": FloatDistribution(0.1, 2, log=True),
        "data.rotation": FloatDistribution(5, 20),
        "data.translation": IntDistribution(0, 4),
        "data.batch_size": IntDistribution(32, 128, step=32),
        "optim": CategoricalDistribution(["adagrad", "adamw"]),
    }
    for bad in (["trainer=cpu"], ["optim.max_lr=tag(log,interval(0,1.0))"]):
        with pytest.raises(UserError, match=r"nothing to search for|cannot be searched"):
            space(bad)


def test_the_command_line_is_read_or_refused_in_one_line() -> None:
    read = read_options(["search=a/b", "search.trials=7", "search.jobs=2", "seed=1"])
    assert read == Options(Path("a/b"), 7, 2, None, ["seed=1"])
    for bad in (["search="], ["search=a", "search.trials=x"], ["search=a", "search.jobs=0"],
                ["search=a", "-m"], ["search=a", "hydra.job.name=x"]):  # fmt: skip
        with pytest.raises(UserError):
            read_options(bad)


def test_what_cannot_be_searched_leaves_nothing(command: Command, tmp_path: Path) -> None:
    for arguments, message in (
        (["trainer=cpu"], "nothing to search for"),
        (["optim.max_lr=interval(0.1,1.0)", "optim.max_rl=1"], "there is no setting optim.max_rl"),
        (["optim.max_lr=interval(0.1,1.0)", "data.val_size=0"], "needs held-out images"),
        (["optim.max_lr=interval(0.1,1.0)", "trainer=ddp"], "use search.jobs"),
    ):
        done = command("search=mine", *arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert message in line
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_left_and_ends_in_a_table(
    command: Command, tmp_path: Path, mnist_root: Path
) -> None:
    """Killed within a trial, and then with two processes: no trial is lost or done twice."""
    folder = tmp_path / "mine"
    with subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), "search=mine", *JOB, "trainer.max_epochs=6"],
        cwd=tmp_path, env={**os.environ, "MNIST_ROOT": str(mnist_root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + WAIT
        while not (folder / "1" / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.communicate(timeout=WAIT)
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{folder}/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]

    done = command("search=mine", "search.trials=4", "search.jobs=2", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in (folder / "1" / "train.log").read_text()
    assert [row["trial"] for row in rows(folder)] == [*"0123"]
    assert {row["state"] for row in rows(folder)} <= {"complete", "pruned"}
    assert len({row["optim.max_lr"] for row in rows(folder)}) == 4, "no settings twice"
    assert "4 of 4 trials" in done.stdout
    assert "python train.py -m trainer=cpu" in done.stdout
    for name in ("history", "epochs", "slices", "importances"):
        assert (folder / f"{name}.png").stat().st_size > 5_000

    done = command("search=mine", "optim.max_lr=interval(0.1,1.0)")
    assert done.returncode == 1
    assert "holds a search for" in done.stderr


@pytest.mark.slow
def test_a_hopeless_trial_is_given_up_and_a_failed_one_stops_no_other(
    command: Command, tmp_path: Path
) -> None:
    """After five trials that learn, one that cannot is pruned; one without an optimizer fails."""
    good = (*SMALL, "data.val_size=500", "trainer.limit_test_batches=1", "trainer.max_epochs=3")
    done = command("search=mine", *good, "data.rotation=interval(5.0,15.0)", "search.trials=5")
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/mine/study.db")
    overrides = study.user_attrs["overrides"]
    assert "data.val_size=500" in overrides
    # The same search among worse settings, as if it had come there by itself.
    study.set_user_attr("overrides", [*overrides, "optim.max_lr=1e-6"])
    done = command("search=mine", "search.trials=6")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "mine")[5]["state"] == "pruned"
    assert "pruned at" in (tmp_path / "mine" / "5" / "pruned.txt").read_text()
    study.set_user_attr("overrides", [*overrides, "+optim.optimizer.foo=1"])
    done = command("search=mine", "search.trials=7")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "mine")[6]["state"] == "fail"
    assert "trial 6: " in done.stdout
    assert "1 fail, 1 pruned" in done.stdout or "1 pruned, 1 fail" in done.stdout


@pytest.mark.slow
def test_what_ends_all_trials_ends_the_search_and_fails_none(
    command: Command, tmp_path: Path, mnist_root: Path
) -> None:
    done = command("search=mine", *JOB, "search.trials=1", MNIST_ROOT="/proc/nowhere")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the MNIST folder /proc/nowhere cannot be written")
    assert "Go on with: python train.py search=mine" in done.stdout
    assert [row["state"] for row in rows(tmp_path / "mine")] == ["running"]
    done = command("search=mine", "search.trials=1")
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in rows(tmp_path / "mine")] == ["complete"]


def test_a_trial_that_was_left_before_it_had_settings_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROJECT / "train.py")])
    options = Options(tmp_path / "mine", 1, 1, None, [*JOB])
    Search(options).study.ask()
    claimed = Search(options).claim()
    assert claimed is not None
    trial, lock = claimed
    assert (trial.number, {*trial.params}) == (0, {"optim.max_lr", "optim"})
    assert Search(options).study.trials[0].params == trial.params
    lock.release()


def test_searches_in_one_database_are_told_apart_and_a_folder_may_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROJECT / "train.py")])
    shared = f"sqlite:///{tmp_path}/shared.db"
    for folder in (tmp_path / "one" / "rate", tmp_path / "two" / "rate"):
        found = Search(Options(folder, 1, 1, shared, [*JOB]))
        assert found.study.trials == []
        found.study.ask()
    Search(Options(tmp_path / "old", 1, 1, None, [*JOB])).study.ask()
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(Search(Options(tmp_path / "new", 1, 1, None, [])).study.trials) == 1
