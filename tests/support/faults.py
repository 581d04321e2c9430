"""Faults that strike the program at a named place: a file being written, or a stage of training.

A place is recognised by Python's audit events (files) and by Lightning's hooks (stages), not by
functions of this project. A fault leaves a marker file when it strikes; `run_program` fails if the
marker is missing.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Strike = Callable[[], None]


@dataclass(frozen=True)
class FileEvent:
    """One event of a file, by its name or the name of its temporary file (`.NAME…`).

    Args:
        kind: "open" for reading or writing, "flush" (fsync), or "rename" to this name.
        name: of the file; of the folder, to flush a folder.
        after: the stage of training that comes before; None: the first such event of the process.
    """

    kind: str
    name: str
    after: "Stage | None" = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" after {self.after}" if self.after else "")

    def watch(self, strike: Strike) -> None:
        """Call `strike` just before the event happens for the first time after the stage."""
        is_due = self.after is None

        def wait_for_event() -> None:
            nonlocal is_due
            is_due = True

        def check(path: object) -> None:
            nonlocal is_due
            if not is_due or not isinstance(path, str | bytes | os.PathLike):
                return
            if self.is_of(os.fsdecode(path)):
                is_due = False
                strike()

        if self.after:
            self.after.watch(wait_for_event)

        if self.kind == "flush":
            fsync = os.fsync

            def checked_fsync(handle: int) -> None:
                check(Path(f"/proc/self/fd/{handle}").readlink())
                fsync(handle)

            os.fsync = checked_fsync  # type: ignore[assignment]
        else:
            event, argument = {"open": ("open", 0), "rename": ("os.rename", 1)}[self.kind]

            def hook(name: str, values: tuple[object, ...]) -> None:
                if name == event:
                    check(values[argument])

            sys.addaudithook(hook)

    def is_of(self, path: str) -> bool:
        """Whether a path is this file or its temporary file."""
        found = Path(path).name
        return found == self.name or found.startswith(f".{self.name}")


@dataclass(frozen=True)
class Stage:
    """One batch of a stage of training.

    Args:
        hook: the hook that Lightning calls in it.
        step: the running training step, from 1; None: any.
        epoch: the running epoch, from 1; None: any.
        batch: of the stage in this epoch, from 1; None: any.
    """

    hook: str
    step: int | None = None
    epoch: int | None = None
    batch: int | None = None

    def __str__(self) -> str:
        place = {"step": self.step, "epoch": self.epoch, "batch": self.batch}
        return " ".join([self.hook, *(f"{k} {v}" for k, v in place.items() if v is not None)])

    def watch(self, strike: Strike) -> None:
        """Call `strike` when Lightning reaches the stage for the first time."""
        from lightning.pytorch.trainer import call

        call_hooks, struck = call._call_callback_hooks, False

        def watched(trainer: Any, hook: str, *arguments: Any, **options: Any) -> None:
            nonlocal struck
            if hook == self.hook and not struck and self.is_reached(trainer, arguments):
                struck = True
                strike()
            call_hooks(trainer, hook, *arguments, **options)

        call._call_callback_hooks = watched

    def is_reached(self, trainer: Any, arguments: tuple[Any, ...]) -> bool:
        """Whether the trainer is at the step, epoch and batch of this stage."""
        return (
            self.step in (None, trainer.global_step + 1)
            and self.epoch in (None, trainer.current_epoch + 1)
            and (self.batch is None or self.batch == arguments[1] + 1)
        )


Place = FileEvent | Stage


def open_file(name: str, after: Stage | None = None) -> FileEvent:
    """The first opening of a file or of its temporary file, after a stage."""
    return FileEvent("open", name, after)


def flush(name: str, after: Stage | None = None) -> FileEvent:
    """The first fsync of a file, of its temporary file, or of a folder, after a stage."""
    return FileEvent("flush", name, after)


def rename_to(name: str, after: Stage | None = None) -> FileEvent:
    """The first rename of any file to this name, after a stage."""
    return FileEvent("rename", name, after)


def training_step(step: int) -> Stage:
    """Within a training step (from 1): gradients are there, the weights not yet changed."""
    return Stage("on_before_optimizer_step", step=step)


def validation(epoch: int, batch: int = 1) -> Stage:
    """Within the evaluation after an epoch (from 1), before one of its batches (from 1)."""
    return Stage("on_validation_batch_start", epoch=epoch, batch=batch)


def final_test(batch: int = 1) -> Stage:
    """Within the evaluation on the test images after training, before a batch (from 1)."""
    return Stage("on_test_batch_start", batch=batch)


@dataclass(frozen=True)
class Fault:
    """A signal, or an error of the operating system, at a place of the program.

    Args:
        place: where it strikes, once.
        number: the signal that the process gets.
        error: instead of a signal, the number of the error that the operation raises.
        times: how often the signal is sent.
    """

    place: Place
    number: int = signal.SIGKILL
    error: int | None = None
    times: int = 1

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.error else signal.Signals(self.number).name
        return f"{what} at {self.place}"

    def install(self, marker: Path) -> None:
        """Let it strike in this process; the marker file is created when it does."""

        def strike() -> None:
            marker.touch()
            if self.error:
                raise OSError(self.error, os.strerror(self.error))
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

        self.place.watch(strike)


def kill_at(place: Place) -> Fault:
    """`kill -9` at a place."""
    return Fault(place)


def signal_at(place: Place, number: int, times: int = 1) -> Fault:
    """A signal at a place."""
    return Fault(place, number, times=times)


def fail_at(place: FileEvent, error: int) -> Fault:
    """An error of the operating system, such as ENOSPC, at an event of a file."""
    return Fault(place, error=error)
