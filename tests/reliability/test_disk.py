"""A full, read-only or vanished disk ends a run with one line; the last checkpoint stays valid."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.faults import FileEvent, fail_at, flush, open_file, rename_to, validation
from support.outcomes import outcome, read_metrics
from support.program import RUN, TRAIN, WAIT, run_program
from support.waiting import wait_until
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def start_on(disk: Path, epochs: int) -> subprocess.Popen[str]:
    """Start a run on a disk and wait for its first checkpoint."""
    arguments = [*RUN, f"trainer.max_epochs={epochs}", "hydra.run.dir=disk/run"]
    started = subprocess.Popen(
        [sys.executable, str(TRAIN), *arguments],
        cwd=disk.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    checkpoint = RunFolder(disk / "run").last_checkpoint
    wait_until(lambda: checkpoint.exists() or started.poll() is not None)
    return started


def check_ends_in_one_line(started: subprocess.Popen[str], *messages: str) -> None:
    """The run ends with status 1 and one line that begins with one of the messages."""
    _, stderr = started.communicate(timeout=WAIT)
    assert started.returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith(tuple(f"error: {message}" for message in messages)), line


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_can_be_resumed(
    disk: Path, tmp_path: Path
) -> None:
    run = RunFolder(disk / "run")
    started = start_on(disk, epochs=60)
    filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):  # it is full
        while True:
            os.write(filler, bytes(1 << 12))
    os.close(filler)
    check_ends_in_one_line(started, "No space left on device")
    saved = read_checkpoint(run.last_checkpoint)
    assert saved["global_step"] > 0
    (disk / "filler").unlink()
    done = run_program("resume=disk/run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert [row["epoch"] for row in read_metrics(run)] == list(range(1, 61))


def test_a_vanished_disk_ends_the_run_and_nothing_is_written_in_its_place(disk: Path) -> None:
    started = start_on(disk, epochs=60)
    subprocess.run(["umount", "-l", str(disk)], check=True)
    check_ends_in_one_line(started, "No such file or directory")
    assert list(disk.iterdir()) == [], "nothing was begun anew where the disk had been"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (rename_to("metrics.csv"), errno.EROFS),
        (rename_to("last.ckpt"), errno.ENOSPC),
        (flush("last.ckpt", validation(epoch=2)), errno.EIO),
        (rename_to("previous.ckpt"), errno.ESTALE),
        (open_file("predictions_visualization.png"), errno.ENOSPC),
        (rename_to("summary.json"), errno.ENOSPC),
    ],
    ids=str,
)
def test_a_failed_write_ends_in_one_line_and_the_run_can_be_resumed(
    tmp_path: Path, expected: dict[str, object], place: FileEvent, error: int
) -> None:
    fault = fail_at(place, error)
    done = run_program(*RUN, "hydra.run.dir=run", folder=tmp_path, fault=fault)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {os.strerror(error)}: {tmp_path}/run/")
    assert line.endswith("; go on with: python train.py resume=run")
    assert not list((tmp_path / "run").rglob(".*.part"))
    done = run_program("resume=run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == expected


def test_a_read_only_disk_keeps_the_last_checkpoint(disk: Path, tmp_path: Path) -> None:
    with start_on(disk, epochs=60) as started:
        started.kill()
    run = RunFolder(disk / "run")
    saved = run.last_checkpoint.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = run_program("resume=disk/run", folder=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Read-only file system: ")
    assert run.last_checkpoint.read_bytes() == saved
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert read_checkpoint(run.last_checkpoint)["global_step"] > 0
