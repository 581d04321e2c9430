"""`kill -9` at any moment, then `resume`: the run ends as if nothing had happened."""

import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.program import HELD_OUT, RUN, Blow, Program, outcome, run_program
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow

PLACES = [
    # in a training step: the first, in the middle, in the last epoch, the last of all
    *(
        Blow("tiny_mnist.training.lit_module.LitClassifier.training_step", n)
        for n in (1, 21, 40, 48)
    ),
    # in the evaluation after the first and after the second epoch
    *(Blow("tiny_mnist.training.lit_module.LitClassifier.validation_step", n) for n in (1, 4)),
    # in writing the first checkpoint, and later ones: before, when the bytes are half there …
    *(Blow("tiny_mnist.runs.checkpoint_io.torch.save", n) for n in (1, 2)),
    *(Blow("os.fsync", n) for n in (3, 7, 11)),
    # … between the two renames, when there is no last checkpoint, and after them
    *(Blow("pathlib.Path.replace", n) for n in (4, 5)),
    Blow("tiny_mnist.system.atomic_files.flush_folder", 4),
    # in drawing the pictures and in writing the summary
    *(Blow("tiny_mnist.evaluation.plots.save", n) for n in (1, 3)),
    Blow("tiny_mnist.runs.folder.RunFolder.write_summary"),
]
PLACES_WITHIN_EPOCHS = [  # with a checkpoint after every third step
    *(Blow("tiny_mnist.training.lit_module.LitClassifier.training_step", n) for n in (3, 21, 40)),
    Blow("tiny_mnist.training.lit_module.LitClassifier.validation_step", 3),
    *(Blow("tiny_mnist.runs.checkpoint_io.torch.save", n) for n in (3, 9)),
    *(Blow("pathlib.Path.replace", n) for n in (4, 5, 8, 18)),
]
SEED, RANDOM_RUNS, KILLS = 4, 20, 3
STEPS = 16  # in an epoch
CHOSEN = "runs killed at chosen places, resumed, identical"


def resumed(folder: Path) -> tuple[dict[str, Any], int]:
    """What the run comes to when it is resumed, and after which step it went on."""
    done = run_program("resume=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    after = re.search(r"Going on after step (\d+)", done.stdout)
    return outcome(RunFolder(folder / "run")), int(after[1]) if after else 0


@pytest.mark.parametrize(
    ("blow", "every"),
    [(blow, "null") for blow in PLACES] + [(blow, "3") for blow in PLACES_WITHIN_EPOCHS],
    ids=str,
)
def test_killed_at_a_place(
    small: dict[str, Any], tmp_path: Path, blow: Blow, every: str, count: Counter[str]
) -> None:
    done = run_program(
        *RUN, f"checkpoint_every={every}", "hydra.run.dir=run", folder=tmp_path, blow=blow
    )
    assert done.status == -9, (done.stdout, done.stderr)
    found, after = resumed(tmp_path)
    assert found == small
    if blow.function.endswith("training_step"):
        lost = blow.call - 1 - after
        assert 0 <= lost < (STEPS if every == "null" else int(every))
    count[CHOSEN] += 1


def test_killed_in_the_final_evaluation(
    held_out: dict[str, Any], tmp_path: Path, count: Counter[str]
) -> None:
    blow = Blow("tiny_mnist.training.lit_module.LitClassifier.test_step", 2)
    done = run_program(*HELD_OUT, "hydra.run.dir=run", folder=tmp_path, blow=blow)
    assert done.status == -9, (done.stdout, done.stderr)
    assert resumed(tmp_path) == (held_out, 3 * STEPS)
    count[CHOSEN] += 1


@pytest.mark.parametrize("number", range(RANDOM_RUNS))
def test_killed_again_and_again_at_random_moments(
    whole: tuple[dict[str, Any], float], tmp_path: Path, number: int, count: Counter[str]
) -> None:
    """Each kill comes after a random part of the time that all of it takes, or too late."""
    expected, seconds = whole
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
            kills += killed and run.configuration.exists()  # before, there is nothing to go on with
    assert kills == wanted
    if not run.summary.exists():
        done = run_program(*continuing(run, begin), folder=tmp_path)
        assert (done.status, done.stderr) == (0, "")
    assert outcome(run) == expected
    count["kills at random moments, up to three in one run"] += kills
    count["runs killed at random moments, resumed, identical"] += 1


def continuing(run: RunFolder, begin: list[str]) -> list[str]:
    """The arguments that go on with a run, or begin it if it was killed before all else."""
    return ["resume=run"] if run.configuration.exists() else begin


def test_killed_in_the_download(
    small: dict[str, Any], tmp_path: Path, mirror: Path, count: Counter[str]
) -> None:
    arguments = [*RUN, "hydra.run.dir=run", "data.root=data"]
    for place in ("tiny_mnist.data.download.os.fsync", "tiny_mnist.data.download.os.fdopen"):
        done = run_program(*arguments, folder=tmp_path, mirror=mirror, blow=Blow(place))
        assert done.status == -9, done.stderr
        arguments = ["resume=run"]
    done = run_program("resume=run", folder=tmp_path, mirror=mirror)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == small
    count["kills in the download, resumed, identical"] += 2
