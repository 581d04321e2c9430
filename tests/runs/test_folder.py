"""The run folder: its lock, its small files, and what it refuses in a stranger's folder."""

import fcntl
import json
import math
import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import EVENT_PREFIX, EVENT_SUFFIX, RunFolder, resolve_run


def poll(path: Path, stop: Event) -> None:
    """Look without a pause whether a run is locked."""
    run = RunFolder(path)
    while not stop.is_set():
        _ = run.is_locked


def test_looking_at_the_lock_refuses_no_start(tmp_path: Path) -> None:
    """Three processes look at the lock of a folder without a pause while a fourth opens it."""
    run = RunFolder(tmp_path / "run")
    with run.open():
        pass
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    pollers = [context.Process(target=poll, args=(run.path, stop)) for _ in range(3)]
    for poller in pollers:
        poller.start()
    try:
        for _ in range(300):
            with run.open():
                pass
    finally:
        stop.set()
        for poller in pollers:
            poller.join()
    assert {poller.exitcode for poller in pollers} == {0}


def test_looking_at_a_free_lock_never_says_that_it_is_taken(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.open():
        pass
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    pollers = [context.Process(target=poll, args=(run.path, stop)) for _ in range(2)]
    for poller in pollers:
        poller.start()
    try:
        assert not any(run.is_locked for _ in range(3000))
    finally:
        stop.set()
        for poller in pollers:
            poller.join()
    assert {poller.exitcode for poller in pollers} == {0}


def test_a_locked_folder_is_seen_and_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.is_locked
    assert not run.checkpoints.exists(), "looking creates nothing"
    with run.open():
        assert run.is_locked
    assert not run.is_locked
    # A lock of another open file stands for another process: within one, a run may be opened twice.
    with run.lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run.is_locked
        with pytest.raises(UserError, match="another process is training in"), run.open():
            pass
    assert not run.is_locked


LINKED = (
    "train.log", "metrics.csv", "summary.json", "curves.png", "checkpoints/.lock",
    "checkpoints/last.ckpt", "checkpoints/previous.ckpt", ".hydra/config.yaml",
    f"{EVENT_PREFIX}1.host.1.0{EVENT_SUFFIX}", f"train/{EVENT_PREFIX}1", f"val/{EVENT_PREFIX}1",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_a_file_that_is_a_link_is_refused_and_what_it_points_to_stays(
    tmp_path: Path, name: str
) -> None:
    run, victim = RunFolder(tmp_path / "run"), tmp_path / "victim"
    victim.write_bytes(bytes(5000))
    (run.path / name).parent.mkdir(parents=True)
    (run.path / name).symlink_to(victim)
    with pytest.raises(UserError, match="is a symbolic link") as refused, run.open():
        pass
    assert name in str(refused.value)
    assert victim.read_bytes() == bytes(5000)


@pytest.mark.parametrize("name", ["checkpoints", "train", "val", "test", ".hydra"])
def test_a_subfolder_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    run.path.mkdir()
    (run.path / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{name} is a symbolic link"), run.open():
        pass
    assert list(elsewhere.iterdir()) == []


def test_a_link_that_no_run_writes_through_is_allowed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / "notes").symlink_to(tmp_path)
    with run.open():
        pass


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with RunFolder(tmp_path / "link").open():
        assert RunFolder(tmp_path / "run").is_locked


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json", "train.log"])
def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="not a regular file"), RunFolder(tmp_path).open():
        pass


def test_reading_a_fifo_as_summary_does_not_wait(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    os.mkfifo(run.summary)
    with pytest.raises(UserError, match="is not a regular file"):
        run.read_summary()


def test_remains_of_a_start_are_removed_without_following_links(tmp_path: Path) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    (run.path / ".hydra").mkdir(parents=True)
    (run.path / ".hydra" / "config.yaml").touch()
    elsewhere.mkdir()
    (elsewhere / "events.1").touch()
    (run.path / "train").symlink_to(elsewhere)
    run.remove_untrained()
    assert (elsewhere / "events.1").exists()
    assert (run.path / ".hydra" / "config.yaml").exists(), "the link is not from a start"
    (run.path / "train").unlink()
    run.remove_untrained()
    assert not run.path.exists()


def test_a_summary_holds_no_nan(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_summary({"test_loss": math.nan, "rows": [math.inf, 1.5]})
    assert json.loads(run.summary.read_text()) == {"test_loss": None, "rows": [None, 1.5]}
    assert run.read_summary() == {"test_loss": None, "rows": [None, 1.5]}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"seed": NaN}', '{"seed": -Infinity}', "[" * 100_000, '"\udcff"'],
)
def test_a_summary_that_is_no_object_of_finite_numbers_gets_one_line(
    tmp_path: Path, text: str
) -> None:
    run = RunFolder(tmp_path)
    run.summary.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"summary\.json") as refused:
        run.read_summary()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("summary", "score"),
    [
        ({"val_images": 0, "test_accuracy": 99.5}, ("test", 99.5)),
        ({"val_images": 500, "val_accuracy": 98, "test_accuracy": 99.5}, ("val", 98)),
        ({"val_images": 500, "val_accuracy": 98.5, "test_accuracy": None}, ("val", 98.5)),
        ({"val_images": 0, "test_accuracy": None}, ("test", None)),
    ],
)
def test_the_score_is_that_of_held_out_images_if_there_are_any(
    tmp_path: Path, summary: dict[str, Any], score: tuple[str, float | None]
) -> None:
    run = RunFolder(tmp_path)
    run.write_summary(summary)
    assert run.read_score() == score


@pytest.mark.parametrize("summary", [{}, {"val_images": 1}, {"test_accuracy": "99"}])
def test_a_summary_without_a_score_gets_one_line(tmp_path: Path, summary: dict[str, Any]) -> None:
    run = RunFolder(tmp_path)
    run.write_summary(summary)
    with pytest.raises(UserError, match="is not the summary of a run"):
        run.read_score()


def begin(path: Path, age: int, checkpoint: bool) -> None:
    """Make a folder as a run leaves it that began some seconds ago."""
    run = RunFolder(path)
    for file in (run.configuration, *([run.last_checkpoint] if checkpoint else [])):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    moment = time.time() - age
    os.utime(run.configuration, (moment, moment))


def test_latest_is_the_newest_run_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run with a checkpoint below"):
        resolve_run("latest")
    begin(Path("runs/old"), 30, checkpoint=True)
    begin(Path("runs/sweeps/new/1"), 20, checkpoint=True)
    begin(Path("runs/empty"), 10, checkpoint=False)
    assert resolve_run("latest").path == Path("runs/sweeps/new/1")


def test_a_run_is_named_by_its_folder_also_when_that_looks_like_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "run").mkdir(parents=True)
    (tmp_path / "~x").mkdir()
    assert resolve_run("~x").path == Path("~x")
    assert resolve_run("~/run").path == tmp_path / "home" / "run"
    for name, message in (("nowhere", "is no run folder"), ("~y/z", "is no run folder")):
        with pytest.raises(UserError, match=message):
            resolve_run(name)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; name the folder of a run"):
        resolve_run("file")
