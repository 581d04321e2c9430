"""Which run is resumed, what may be changed, and what a prolonged run does."""

import json
import os
from pathlib import Path

import pytest

from support.outcomes import outcome
from support.program import RUN, Command
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder, latest_unfinished_run


def begun(path: Path, age: int, finished: bool = False) -> RunFolder:
    """A folder as a run leaves it, begun some seconds ago."""
    run = RunFolder(path)
    run.configuration.parent.mkdir(parents=True)
    run.configuration.write_text("seed: 0")
    moment = 1_800_000_000 - age
    os.utime(run.configuration, (moment, moment))
    if finished:
        run.summary.write_text('{"test_accuracy": 99.5}')
    return run


def test_latest_is_the_newest_that_is_neither_finished_nor_running(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no unfinished run below"):
        latest_unfinished_run(tmp_path)
    begun(tmp_path / "a", 40)
    wanted = begun(tmp_path / "sweeps" / "b" / "0", 30)
    running = begun(tmp_path / "c", 20)
    begun(tmp_path / "d", 10, finished=True)
    with running.open():
        assert latest_unfinished_run(tmp_path).path == wanted.path
    assert latest_unfinished_run(tmp_path).path == running.path


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.open(), pytest.raises(UserError, match="another process is training in"), run.open():
        pass


def test_a_second_run_does_not_touch_the_folder_of_a_first(
    command: Command, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with run.open():
        done = command("debug=batch", "hydra.run.dir=run")
    assert done.returncode == 1
    assert done.stderr == "error: another process is training in run\n"
    assert [path.name for path in run.path.rglob("*") if path.is_file()] == [".lock"]


def test_only_a_start_that_came_to_nothing_is_removed(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", 0)
    with run.open():
        run.remove_untrained()
        assert run.configuration.exists(), "it belongs to another process"
    (run.path / "train").mkdir()
    curve = run.path / "train" / "events.out.tfevents.1"
    for path in (run.metrics, run.summary, run.last_checkpoint, run.path / "notes.txt"):
        path.touch()
        run.remove_untrained()
        assert path.exists()
        path.unlink()
    curve.touch()
    run.remove_untrained()
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=nowhere"], "no run to resume: there is no nowhere/.hydra/config.yaml"),
        (["resume=latest"], "no unfinished run below"),
        ([f"resume={__file__}"], f"resume={__file__} is a file"),
        (["resume=run", "optim.max_lr=1"], "optim.max_lr=1: a resumed run takes no setting but"),
        (["resume=run", "trainer=gpu"], "trainer=gpu: a resumed run takes no setting but"),
        (["-m", "resume=run"], "-m: a resumed run takes no setting but"),
        (["resume=run", "trainer.max_epochs"], "trainer.max_epochs: a resumed run takes"),
        (["resume=run", "resume=other"], "resume= takes the folder of one run"),
        (["resume="], "resume= takes the folder of one run"),
    ],
)
def test_what_cannot_be_resumed_gets_one_line(
    command: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_finished_run_says_so_and_can_be_prolonged(command: Command, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert command(*RUN, "hydra.run.dir=run").returncode == 0
    first = outcome(run)

    done = command("resume=run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run is finished: test accuracy ")
    assert outcome(run) == first, "nothing was touched"

    done = command("resume=run", "trainer.max_epochs=2")
    assert done.stderr.startswith("error: trainer.max_epochs=2: the run was begun for 3 epochs")

    for wish in ("trainer.accelerator=tpu", "data.root=run/metrics.csv"):
        done = command("resume=run", "trainer.max_epochs=5", wish)
        assert done.returncode == 1
        assert outcome(run) == first, "a refused wish has changed nothing"
    assert command("resume=run").stdout.startswith("run is finished")

    done = command("resume=run", "trainer.max_epochs=5")
    assert (done.returncode, done.stderr) == (0, "")
    cycle, *_ = done.stdout.splitlines()
    assert cycle == "The learning rate's cycle ends as planned; epochs 4 to 5 keep its final rate"
    rows = run.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert run.metrics.read_text().startswith(str(first["metrics"]))
    rates = [value for _, value in outcome(run)["curves"]["."]["learning_rate"]]
    assert len(rates) == 5 * 16
    assert set(rates[47:]) == {rates[47]}, "the last rate of the cycle"
    assert json.loads(run.summary.read_text())["epochs"] == 5
    assert command("resume=run").stdout.startswith("run is finished")

    prolonged = outcome(run)
    run.summary.write_text("{")
    assert command("resume=run").returncode == 0
    assert outcome(run) == prolonged, "a damaged summary is written again"
