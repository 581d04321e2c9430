"""The Optuna sweeper: what is searched, that no trial is lost, and what is refused."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.program import PROJECT, SMALL, WAIT, Command

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tiny_mnist.errors import UserError  # noqa: E402
from tiny_mnist.sweeps.optuna_study import (  # noqa: E402
    check_params,
    corner_jobs,
    make_distribution,
)

JOB = (
    *SMALL, "data.val_size=500", "trainer.limit_test_batches=1",
    "optim.max_lr=tag(log,interval(0.05,2.0))", "optim=adagrad,adamw",
)  # fmt: skip
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=mine")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=tag(log,interval(0.1,2))", FloatDistribution(0.1, 2, log=True)),
        ("a=interval(5,20.0)", FloatDistribution(5, 20)),
        ("a=int(interval(0,4))", IntDistribution(0, 4)),
        ("a=range(32,129,32)", IntDistribution(32, 128, step=32)),
        ("a=adagrad,adamw", CategoricalDistribution(["adagrad", "adamw"])),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
    ],
)
def test_hydras_grammar_says_what_is_searched(text: str, expected: object) -> None:
    assert make_distribution(text, OverridesParser.create().parse_override(text)) == expected


def test_a_range_that_cannot_be_searched_is_refused() -> None:
    text = "a=tag(log,interval(0,1.0))"
    with pytest.raises(UserError, match="cannot be searched"):
        make_distribution(text, OverridesParser.create().parse_override(text))


def test_trials_at_the_ends_of_all_ranges_are_composed_first() -> None:
    space = {"a": FloatDistribution(0.1, 2), "b": CategoricalDistribution(["x", "y", "z"])}
    assert corner_jobs(space) == [{"a": 0.1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 2, "b": "z"}]


def test_parameters_of_a_stranger_are_checked() -> None:
    space = {"a": FloatDistribution(0.1, 2), "b": CategoricalDistribution(["x", "y"])}
    check_params({"a": 0.5, "b": "x"}, space)
    for hostile in ({"a": 3.0}, {"b": "../x"}, {"model._target_": "os.abort"}):
        with pytest.raises(ValueError, match=r"range|searched|not in"):
            check_params(hostile, space)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer=cpu"], "nothing to search for"),
        (["optim.max_lr=interval(0.1,1.0)", "optim.max_rl=1"], "there is no setting optim.max_rl"),
        (["optim.max_lr=interval(0.1,1.0)", "data.val_size=0"], "needs held-out images"),
        (["data.fold=0,1", "data.folds=2"], "data.fold is no setting to search"),
        (["optim.max_lr=interval(0.1,1.0)", "trainer=ddp"], "without trainer=ddp"),
        (["optim.max_lr=interval(-1,1.0)"], "optim.max_lr=-1"),
        (["optim.max_lr=interval(0.1,1.0)", "hydra.sweeper.n_trials=0"], "n_trials should be"),
    ],
)
def test_what_cannot_be_searched_leaves_nothing(
    command: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = command(*SEARCH, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_damaged_study_is_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.db").write_text("not a database, but a text of some length " * 9)
    done = command(*SEARCH, *JOB)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "study.db cannot be used as a study" in line


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
        deadline = time.monotonic() + WAIT
        while not [*folder.glob("1_*/checkpoints/last.ckpt")]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
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
