"""SIGTERM and Ctrl-C: the running step is finished and saved, and one line says how to go on."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from support.program import HELD_OUT, RUN, Blow, outcome, run_program
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow
STOPPED = "runs stopped by SIGTERM or Ctrl-C at chosen places, resumed, identical"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("place", "call", "steps"),
    [
        ("tiny_mnist.data.download.load", 1, None),  # before there is anything to save
        ("tiny_mnist.training.lit_module.LitClassifier.training_step", 20, 20),  # finished, saved
        (
            "tiny_mnist.training.lit_module.LitClassifier.training_step",
            32,
            32,
        ),  # the last of its epoch
        (
            "tiny_mnist.training.lit_module.LitClassifier.validation_step",
            3,
            32,
        ),  # the epoch is finished
        ("tiny_mnist.evaluation.plots.save", 2, 48),
    ],
)
def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path,
    small: dict[str, object],
    number: int,
    place: str,
    call: int,
    steps: int | None,
    count: Counter[str],
) -> None:
    done = run_program(
        *RUN, "hydra.run.dir=run", folder=tmp_path, blow=Blow(place, call, number=number)
    )
    assert done.status == 128 + number
    name = signal.Signals(number).name
    assert done.stderr == f"interrupted by {name}; go on with: python train.py resume=run\n"
    assert "Traceback" not in done.stdout
    done = run_program("resume=run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    if steps is not None:
        assert f"Going on after step {steps}, from run/checkpoints/last.ckpt" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == small
    count[STOPPED] += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_final_evaluation(
    tmp_path: Path, held_out: dict[str, object], number: int, count: Counter[str]
) -> None:
    blow = Blow("tiny_mnist.training.lit_module.LitClassifier.test_step", number=number)
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=tmp_path, blow=blow)
    assert done.status == 128 + number
    assert done.stderr.endswith("; go on with: python train.py resume=run\n")
    done = run_program("resume=run", folder=tmp_path)
    assert "Going on after step 48, from run/checkpoints/last.ckpt" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == held_out
    count[STOPPED] += 1


def test_a_second_signal_does_not_wait(tmp_path: Path, small: dict[str, object]) -> None:
    twice = Blow(
        "tiny_mnist.training.lit_module.LitClassifier.training_step",
        20,
        number=signal.SIGINT,
        times=2,
    )
    done = run_program(*RUN, "hydra.run.dir=run", folder=tmp_path, blow=twice)
    assert done.status == 130
    assert done.stderr.count("\n") == 1
    done = run_program("resume=run", folder=tmp_path)
    assert "Going on after step 16" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == small
