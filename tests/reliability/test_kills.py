"""A run ended by `kill -9` and resumed gives the same result as an uninterrupted run."""

import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.faults import (
    Place,
    Stage,
    final_test,
    flush,
    kill_at,
    open_file,
    rename_to,
    training_step,
    validation,
)
from support.outcomes import outcome
from support.program import HELD_OUT, RUN, Program, run_program
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow

PLACES = [
    *(training_step(step) for step in (1, 21, 40, 48)),
    *(validation(epoch) for epoch in (1, 2)),
    # A checkpoint: its temporary file is created, filled and flushed, renamed; the folder flushed.
    *(open_file("last.ckpt", validation(epoch)) for epoch in (1, 2)),
    *(flush("last.ckpt", validation(epoch)) for epoch in (1, 2, 3)),
    *(rename_to("last.ckpt", validation(epoch)) for epoch in (1, 2)),
    rename_to("previous.ckpt"),
    *(flush("checkpoints", validation(epoch)) for epoch in (1, 2)),
    *(rename_to("metrics.csv", validation(epoch)) for epoch in (1, 2)),
    flush("curves.png"),
    rename_to("confusion_matrix.png"),
    flush("summary.json"),
    rename_to("summary.json"),
]
PLACES_WITHIN_EPOCHS = [  # with a checkpoint after every third step
    *(training_step(step) for step in (3, 21, 40)),
    validation(epoch=2),
    *(flush("last.ckpt", training_step(step)) for step in (9, 23)),
    *(rename_to("last.ckpt", training_step(step)) for step in (12, 23)),
    *(rename_to("previous.ckpt", training_step(step)) for step in (12, 26)),
]
SEED, RANDOM_RUNS, KILLS = 4, 20, 3
STEPS = 16  # in an epoch
CHOSEN = "runs killed at chosen places, resumed, identical"


def resumed(folder: Path) -> tuple[dict[str, Any], int]:
    """Resume the run; its outcome, and the step of the checkpoint that it continued from."""
    done = run_program("resume=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    after = re.search(r"Going on after step (\d+)", done.stdout)
    return outcome(RunFolder(folder / "run")), int(after[1]) if after else 0


@pytest.mark.parametrize(
    ("place", "every"),
    [(place, "null") for place in PLACES] + [(place, "3") for place in PLACES_WITHIN_EPOCHS],
    ids=str,
)
def test_a_run_killed_at_a_place_resumes_with_the_same_result(
    expected: dict[str, Any], tmp_path: Path, place: Place, every: str, count: Counter[str]
) -> None:
    arguments = (*RUN, f"checkpoint_every={every}", "hydra.run.dir=run")
    done = run_program(*arguments, folder=tmp_path, fault=kill_at(place))
    assert done.status == -9, (done.stdout, done.stderr)
    found, after = resumed(tmp_path)
    assert found == expected
    if isinstance(place, Stage) and place.step is not None:
        lost = place.step - 1 - after
        assert 0 <= lost < (STEPS if every == "null" else int(every))
    count[CHOSEN] += 1


def test_a_run_killed_in_the_final_test_resumes_with_the_same_result(
    held_out: dict[str, Any], tmp_path: Path, count: Counter[str]
) -> None:
    fault = kill_at(final_test(batch=2))
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=tmp_path, fault=fault)
    assert done.status == -9, (done.stdout, done.stderr)
    assert resumed(tmp_path) == (held_out, 3 * STEPS)
    count[CHOSEN] += 1


@pytest.mark.parametrize("name", ["hydra.yaml", "overrides.yaml", "config.yaml"])
def test_a_run_killed_while_its_configuration_is_written_is_begun_again(
    expected: dict[str, Any], tmp_path: Path, name: str, count: Counter[str]
) -> None:
    begin = (*RUN, "hydra.run.dir=run")
    done = run_program(*begin, folder=tmp_path, fault=kill_at(flush(name)))
    assert done.status == -9, (done.stdout, done.stderr)
    done = run_program(*begin, folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == expected
    count[CHOSEN] += 1


@pytest.mark.parametrize("number", range(RANDOM_RUNS))
def test_a_run_killed_at_random_moments_resumes_with_the_same_result(
    uninterrupted: tuple[dict[str, Any], float], tmp_path: Path, number: int, count: Counter[str]
) -> None:
    """Each kill comes after a random fraction of the time that an uninterrupted run takes."""
    expected, seconds = uninterrupted
    dice = random.Random(f"{SEED}-{number}")
    begin = [*RUN, f"checkpoint_every={dice.choice(['null', '1', '5'])}", "hydra.run.dir=run"]
    run, kills = RunFolder(tmp_path / "run"), 0
    wanted = KILLS if number < 2 else 1
    for _ in range(10 * KILLS):
        if kills == wanted:
            break
        if run.summary.exists():
            assert outcome(run) == expected
            shutil.rmtree(run.path)
        started = Program(*continuing(run, begin), folder=tmp_path)
        if started.wait(dice.uniform(0.05, 0.8) * seconds) is None:
            killed = started.kill().status == -9
            kills += killed and run.configuration.exists()  # without it there is nothing to resume
    assert kills == wanted
    if not run.summary.exists():
        done = run_program(*continuing(run, begin), folder=tmp_path)
        assert (done.status, done.stderr) == (0, "")
    assert outcome(run) == expected
    count["kills at random moments, up to three in one run"] += kills
    count["runs killed at random moments, resumed, identical"] += 1


def continuing(run: RunFolder, begin: list[str]) -> list[str]:
    """The arguments that resume a run, or begin it if it was killed before it saved anything."""
    return ["resume=run"] if run.configuration.exists() else begin


def test_a_run_killed_in_the_download_resumes_with_the_same_result(
    expected: dict[str, Any], tmp_path: Path, mirror: Path, count: Counter[str]
) -> None:
    (tmp_path / "data").mkdir()
    arguments = [*RUN, "hydra.run.dir=run", "data.root=data"]
    for place in (flush("train-images-idx3-ubyte"), rename_to("t10k-images-idx3-ubyte")):
        done = run_program(*arguments, folder=tmp_path, mirror=mirror, fault=kill_at(place))
        assert done.status == -9, done.stderr
        arguments = ["resume=run"]
    done = run_program("resume=run", folder=tmp_path, mirror=mirror)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == expected
    count["kills in the download, resumed, identical"] += 2
