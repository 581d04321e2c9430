"""`python train.py …` in a process of its own, and presets of short runs.

A fork server imports torch and Lightning once. Each run is a fork of it that executes `train.py`
as `python train.py` does, which saves seconds a run.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from support.faults import Fault

PROJECT = Path(__file__).parents[2]
TRAIN = PROJECT / "train.py"
Command = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `python train.py` with arguments, and environment variables as keywords."""

SMALL = ("trainer=cpu", "trainer.max_epochs=2", "data.train_size=1000", "data.batch_size=100")
"""A run of about a second: two epochs of ten steps."""
RUN = (
    "trainer=cpu", "trainer.max_epochs=3", "data.train_size=1000", "data.batch_size=64",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2",
)  # fmt: skip
"""A run of a few seconds: three epochs of 16 steps, the last step of each on 40 images."""
HELD_OUT = (*RUN, "data.val_size=1000")
"""The same with held-out images; the test images are evaluated once, after the last epoch."""
WAIT = 900  # seconds until a process is given up: the machine may be busy

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tiny_mnist.training.train", "tiny_mnist.launch"])


def execute(
    arguments: tuple[str, ...], folder: Path, fault: Fault | None, mirror: Path | None, output: Path
) -> None:
    """Become `python train.py …` in a folder; this runs in the forked process."""
    os.chdir(folder)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [str(TRAIN), *arguments]
    sys.path[0] = str(TRAIN.parent)
    if mirror:
        from torchvision.datasets import MNIST

        MNIST.mirrors = [f"{mirror.as_uri()}/"]
        os.environ["PATH"] = ""  # no npm, which is the source after the mirrors
    if fault:
        fault.install(output / "struck")
    runpy.run_path(str(TRAIN), run_name="__main__")


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


class Program:
    """A running program.

    Args:
        arguments: of `train.py`.
        folder: its working directory.
        fault: what goes wrong in it.
        mirror: the only source of MNIST, a folder with the four files as mirrors have them.
        output: the folder of its standard output and error, and of the marker of the fault;
            None: beside the working directory.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        fault: Fault | None = None,
        mirror: Path | None = None,
        output: Path | None = None,
    ) -> None:
        self.output = output or folder.with_name(f"{folder.name}.output")
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "struck").unlink(missing_ok=True)
        self.process: BaseProcess = CONTEXT.Process(
            target=execute, args=(arguments, folder, fault, mirror, self.output)
        )
        self.process.start()

    @property
    def struck(self) -> bool:
        """Whether the fault has struck."""
        return (self.output / "struck").exists()

    def wait(self, seconds: float | None = WAIT) -> Done | None:
        """How it ended; None when it still runs after that time."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            return None
        status = self.process.exitcode
        self.process.close()
        out, err = ((self.output / name).read_text() for name in ("stdout", "stderr"))
        return Done(status, out, err)

    def kill(self) -> Done:
        """Kill it with SIGKILL."""
        self.process.kill()
        done = self.wait()
        assert done is not None
        return done


def run_program(*arguments: str, folder: Path, fault: Fault | None = None, **options: Any) -> Done:
    """Run the program to its end.

    Raises:
        AssertionError: it does not end, or the fault never struck.
    """
    started = Program(*arguments, folder=folder, fault=fault, **options)
    done = started.wait()
    if done is None:
        started.kill()
        raise AssertionError(f"{arguments} in {folder} did not end within {WAIT} s")
    if fault and not started.struck:
        raise AssertionError(f"the fault never struck: {fault}\n{done.stdout}{done.stderr}")
    return done
