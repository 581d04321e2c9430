"""A disk that fills, turns read-only or goes away: one line, and the last checkpoint stays good."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.program import RUN, TRAIN, WAIT, Blow, outcome, run_program
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


def begin(disk: Path, epochs: int) -> subprocess.Popen[str]:
    """A run on that disk, begun as a user does, once its first checkpoint is there."""
    arguments = [*RUN, f"trainer.max_epochs={epochs}", "hydra.run.dir=disk/run"]
    started = subprocess.Popen(
        [sys.executable, str(TRAIN), *arguments],
        cwd=disk.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + WAIT
    while not RunFolder(disk / "run").last_checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return started


def one_line(started: subprocess.Popen[str], *messages: str) -> None:
    """It ends with status 1 and one line that says one of these."""
    _, stderr = started.communicate(timeout=WAIT)
    assert started.returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith(tuple(f"error: {message}" for message in messages)), line


def test_a_disk_that_fills(disk: Path, tmp_path: Path) -> None:
    run = RunFolder(disk / "run")
    started = begin(disk, epochs=60)
    filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):  # it is full
        while True:
            os.write(filler, bytes(1 << 12))
    os.close(filler)
    one_line(started, "No space left on device")
    saved = read_checkpoint(run.last_checkpoint)
    assert saved["global_step"] > 0
    (disk / "filler").unlink()
    done = run_program("resume=disk/run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert [row["epoch"] for row in run.read_metrics()] == list(range(1, 61))


def test_a_disk_that_goes_away(disk: Path) -> None:
    started = begin(disk, epochs=60)
    subprocess.run(["umount", "-l", str(disk)], check=True)
    one_line(started, "No such file or directory")
    assert list(disk.iterdir()) == [], "nothing was begun anew where the disk had been"


@pytest.mark.parametrize(
    ("call", "error"),
    [(1, errno.EROFS), (2, errno.ENOSPC), (5, errno.EIO), (8, errno.ESTALE), (12, errno.ENOSPC)],
)
def test_an_error_at_any_write(
    tmp_path: Path, small: dict[str, object], call: int, error: int
) -> None:
    blow = Blow("pathlib.Path.replace", call, error=error)
    done = run_program(*RUN, "hydra.run.dir=run", folder=tmp_path, blow=blow)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {os.strerror(error)}: {tmp_path}/run/")
    assert line.endswith("; go on with: python train.py resume=run")
    assert not list((tmp_path / "run").rglob(".*.part"))
    done = run_program("resume=run", folder=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert outcome(RunFolder(tmp_path / "run")) == small


def test_a_read_only_disk(disk: Path, tmp_path: Path) -> None:
    with begin(disk, epochs=60) as started:
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
