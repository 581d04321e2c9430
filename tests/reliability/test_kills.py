"""`kill -9` at any moment, then `resume`: the run ends as if nothing had happened."""

import gzip
import random
from pathlib import Path
from typing import Any

import pytest

from program import RUN, Blow, Program, outcome, run_program
from tiny_mnist.data import source
from tiny_mnist.run import RunFolder

pytestmark = pytest.mark.slow

PLACES = [
    # in a training step: the first, in the middle, in the last epoch, the last of all
    *(Blow("tiny_mnist.classifier.Classifier.training_step", n) for n in (1, 21, 40, 48)),
    # in the evaluation after the first and after the second epoch
    *(Blow("tiny_mnist.classifier.Classifier.validation_step", n) for n in (1, 4)),
    # in the final evaluation
    Blow("tiny_mnist.classifier.Classifier.test_step", 2),
    # in writing the first checkpoint, and later ones: before, when the bytes are half there …
    *(Blow("tiny_mnist.checkpoint.torch.save", n) for n in (1, 2)),
    *(Blow("os.fsync", n) for n in (3, 7, 11)),
    # … between the two renames, when there is no last checkpoint, and after them
    *(Blow("pathlib.Path.replace", n) for n in (4, 5)),
    Blow("tiny_mnist.files.flush_folder", 4),
    # in drawing the pictures and in writing the summary
    *(Blow("tiny_mnist.pictures.save", n) for n in (1, 3)),
    Blow("tiny_mnist.run.RunFolder.write_summary"),
]
PLACES_WITHIN_EPOCHS = [  # with a checkpoint after every third step
    *(Blow("tiny_mnist.classifier.Classifier.training_step", n) for n in (3, 21, 40)),
    Blow("tiny_mnist.classifier.Classifier.validation_step", 3),
    *(Blow("tiny_mnist.checkpoint.torch.save", n) for n in (3, 9)),
    *(Blow("pathlib.Path.replace", n) for n in (4, 5, 8, 18)),
]
SEED, RANDOM_RUNS = 4, 8


def resumed(folder: Path) -> dict[str, Any]:
    """What the run comes to when it is resumed."""
    done = run_program("resume=run", folder=folder)
    assert (done.status, done.stderr) == (0, "")
    return outcome(RunFolder(folder / "run"))


@pytest.mark.parametrize(
    ("blow", "every"),
    [(blow, "null") for blow in PLACES] + [(blow, "3") for blow in PLACES_WITHIN_EPOCHS],
    ids=str,
)
def test_killed_at_a_place(
    whole: tuple[dict[str, Any], float], tmp_path: Path, blow: Blow, every: str
) -> None:
    done = run_program(
        *RUN, f"checkpoint_every={every}", "hydra.run.dir=run", folder=tmp_path, blow=blow
    )
    assert done.status == -9, (done.stdout, done.stderr)
    assert resumed(tmp_path) == whole[0]


@pytest.mark.parametrize("number", range(RANDOM_RUNS))
def test_killed_again_and_again_at_random_moments(
    whole: tuple[dict[str, Any], float], tmp_path: Path, number: int
) -> None:
    """Killed until it is through, each time after a part of the time that all of it takes."""
    dice = random.Random(f"{SEED}-{number}")
    begin = [*RUN, f"checkpoint_every={dice.choice(['null', '1', '5'])}", "hydra.run.dir=run"]
    run, kills = RunFolder(tmp_path / "run"), 0
    for _ in range(30):
        if run.summary.exists():
            break
        arguments = ["resume=run"] if run.configuration.exists() else begin
        started = Program(*arguments, folder=tmp_path)
        if started.wait(dice.uniform(0.1, 0.9) * whole[1]) is None:
            kills += started.kill().status == -9
    assert kills
    print(f"{kills} kills")
    assert outcome(run) == whole[0]


def test_killed_in_the_download(
    whole: tuple[dict[str, Any], float], tmp_path: Path, mnist_root: Path
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for file in source.FILES:
        content = gzip.compress((mnist_root / file.name).read_bytes(), 1)
        (mirror / f"{file.name}.gz").write_bytes(content)
    arguments = [*RUN, "hydra.run.dir=run", "data.root=data"]
    for place in ("tiny_mnist.data.source.os.fsync", "tiny_mnist.data.source.os.fdopen"):
        done = run_program(*arguments, folder=tmp_path, mirror=mirror, blow=Blow(place))
        assert done.status == -9, done.stderr
        arguments = ["resume=run"]
    done = run_program("resume=run", folder=tmp_path, mirror=mirror)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == whole[0]
