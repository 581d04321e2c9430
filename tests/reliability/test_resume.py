"""Which run is resumed, what may be changed, and what a prolonged run does."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from support.outcomes import outcome, read_metrics
from support.program import RUN, run_program
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder, latest_unfinished_run


def start_run(path: Path, age: int, finished: bool = False) -> RunFolder:
    """Create a run folder that was begun some seconds ago."""
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
    start_run(tmp_path / "a", 40)
    wanted = start_run(tmp_path / "sweeps" / "b" / "0", 30)
    running = start_run(tmp_path / "c", 20)
    start_run(tmp_path / "d", 10, finished=True)
    with running.open():
        assert latest_unfinished_run(tmp_path).path == wanted.path
    assert latest_unfinished_run(tmp_path).path == running.path


def test_a_second_run_does_not_touch_the_folder_of_a_first(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.open():
        done = run_program("debug=batch", "hydra.run.dir=run", folder=tmp_path)
    assert done.status == 1
    assert done.stderr == "error: another process is training in run\n"
    assert [path.name for path in run.path.rglob("*") if path.is_file()] == [".lock"]


def test_only_a_start_that_came_to_nothing_is_removed(tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", 0)
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
    ("folder", "message"),
    [
        ("nowhere", "resume=nowhere is not there"),
        ("latest", "no unfinished run below"),
        (__file__, f"resume={__file__} is a file"),
    ],
)
def test_resuming_what_is_no_run_ends_in_one_line_and_creates_nothing(
    tmp_path: Path, folder: str, message: str
) -> None:
    done = run_program(f"resume={folder}", folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_the_latest_job_of_a_sweep_is_resumed_and_the_sweep_named(
    compose: Callable[..., DictConfig], mnist_root: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "runs" / "sweeps" / "mine"
    run = start_run(sweep / "0", 0)
    OmegaConf.save(compose("debug=batch"), run.configuration)
    (sweep / "multirun.yaml").touch()
    done = run_program("resume=latest", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    message = "Resuming runs/sweeps/mine/0 alone; resume=runs/sweeps/mine resumes its whole sweep"
    assert f"\n{message}\n" in done.stdout
    assert run.summary.exists()


@pytest.mark.parametrize("setting", ["optim.max_lr=1", "trainer=gpu", "data.batch_size=32"])
def test_a_setting_that_a_resumed_run_must_keep_is_refused_in_one_line(
    compose: Callable[..., DictConfig], tmp_path: Path, setting: str
) -> None:
    run = start_run(tmp_path / "run", 0)
    OmegaConf.save(compose(*RUN), run.configuration)
    saved = run.configuration.read_bytes()
    done = run_program("resume=run", setting, folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {setting}: a resumed run takes no setting but")
    assert run.configuration.read_bytes() == saved


@pytest.mark.slow
def test_a_finished_run_says_so_and_can_be_prolonged(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run_program(*RUN, "hydra.run.dir=run", folder=tmp_path).status == 0
    first = outcome(run)

    done = run_program("resume=run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert "\nrun is finished: test accuracy " in done.stdout
    assert outcome(run) == first, "nothing was touched"

    done = run_program("resume=run", "trainer.max_epochs=2", folder=tmp_path)
    assert done.stderr.startswith("error: trainer.max_epochs=2: the run was begun for 3 epochs")

    for wish in ("trainer.accelerator=tpu", "data.root=run/metrics.csv"):
        done = run_program("resume=run", "trainer.max_epochs=5", wish, folder=tmp_path)
        assert done.status == 1
        assert outcome(run) == first, "a refused wish has changed nothing"
    assert "\nrun is finished" in run_program("resume=run", folder=tmp_path).stdout

    done = run_program("resume=run", "trainer.max_epochs=5", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    _, cycle, *_ = done.stdout.splitlines()
    assert cycle == "The learning rate's cycle ends as planned; epochs 4 to 5 keep its final rate"
    rows = read_metrics(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert run.metrics.read_text().startswith(str(first["metrics"]))
    rates = [value for _, value in outcome(run)["curves"]["."]["learning_rate"]]
    assert len(rates) == 5 * 16
    assert set(rates[47:]) == {rates[47]}, "the last rate of the cycle"
    assert json.loads(run.summary.read_text())["epochs"] == 5
    assert "run is finished" in run_program("resume=run", folder=tmp_path).stdout

    prolonged = outcome(run)
    run.summary.write_text("{")
    assert run_program("resume=run", folder=tmp_path).status == 0
    assert outcome(run) == prolonged, "a damaged summary is written again"
