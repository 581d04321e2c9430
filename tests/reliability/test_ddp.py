"""Two processes that share each batch: stopped or killed, they go on with the same bits."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.outcomes import outcome
from support.program import RUN, TRAIN, WAIT, Command
from support.waiting import wait_until
from tiny_mnist.runs.folder import RunFolder

pytestmark = pytest.mark.slow
TWO = (
    "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", *RUN[1:],
    "trainer.max_epochs=40", "hydra.run.dir=run",
)  # fmt: skip


@pytest.fixture(scope="module")
def two_processes(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes come to when nothing interrupts them."""
    folder = tmp_path_factory.mktemp("two")
    subprocess.run([sys.executable, str(TRAIN), *TWO], cwd=folder, check=True, capture_output=True)
    return outcome(RunFolder(folder / "run"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_processes_go_on_with_the_same_bits(
    command: Command,
    tmp_path: Path,
    two_processes: dict[str, Any],
    number: int,
    count: Counter[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, str(TRAIN), *TWO], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        wait_until(lambda: run.last_checkpoint.exists() or started.poll() is not None)
        if number == signal.SIGKILL:  # a machine that goes down takes all processes with it
            os.killpg(started.pid, number)
        else:
            started.send_signal(number)
        _, stderr = started.communicate(timeout=WAIT)
    assert not run.summary.exists()
    if number == signal.SIGTERM:
        assert started.returncode == 128 + number
        (line,) = stderr.splitlines()
        assert line == "interrupted by SIGTERM; go on with: python train.py resume=run"
    done = command("resume=run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Going on after step" in done.stdout
    assert outcome(run) == two_processes
    count["runs of two processes, stopped or killed, resumed, identical"] += 1
