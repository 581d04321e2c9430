"""SIGTERM and Ctrl-C finish the step, save a checkpoint and print the command that resumes."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from support.faults import Place, final_test, flush, open_file, signal_at, training_step, validation
from support.outcomes import outcome
from support.program import HELD_OUT, RUN, run_program
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow
STOPPED = "runs stopped by SIGTERM or Ctrl-C at chosen places, resumed, identical"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("place", "steps"),
    [
        (open_file("train-images-idx3-ubyte"), None),  # nothing to save yet
        (training_step(20), 20),
        (training_step(32), 32),  # the last one of its epoch
        (validation(epoch=2), 32),
        (flush("predictions_visualization.png"), 48),
    ],
    ids=str,
)
def test_a_signal_saves_a_checkpoint_and_prints_the_command_that_resumes(
    tmp_path: Path,
    expected: dict[str, object],
    number: int,
    place: Place,
    steps: int | None,
    count: Counter[str],
) -> None:
    done = run_program(*RUN, "hydra.run.dir=run", folder=tmp_path, fault=signal_at(place, number))
    assert done.status == 128 + number
    name = signal.Signals(number).name
    assert done.stderr == f"interrupted by {name}; go on with: python train.py resume=run\n"
    assert "Traceback" not in done.stdout
    done = run_program("resume=run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    if steps is not None:
        assert f"Going on after step {steps}, from run/checkpoints/last.ckpt" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == expected
    count[STOPPED] += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_in_the_final_test_resumes_with_the_same_result(
    tmp_path: Path, held_out: dict[str, object], number: int, count: Counter[str]
) -> None:
    fault = signal_at(final_test(), number)
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=tmp_path, fault=fault)
    assert done.status == 128 + number
    assert done.stderr.endswith("; go on with: python train.py resume=run\n")
    done = run_program("resume=run", folder=tmp_path)
    assert "Going on after step 48, from run/checkpoints/last.ckpt" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == held_out
    count[STOPPED] += 1


def test_a_second_signal_stops_the_run_at_once(tmp_path: Path, expected: dict[str, object]) -> None:
    twice = signal_at(training_step(20), signal.SIGINT, times=2)
    done = run_program(*RUN, "hydra.run.dir=run", folder=tmp_path, fault=twice)
    assert done.status == 130
    assert done.stderr.count("\n") == 1
    done = run_program("resume=run", folder=tmp_path)
    assert "Going on after step 16" in done.stdout
    assert outcome(RunFolder(tmp_path / "run")) == expected
