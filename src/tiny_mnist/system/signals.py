"""Requests to stop (Ctrl-C, SIGTERM, SIGHUP): immediate, or deferred to the next safe point."""

import multiprocessing
import os
import signal
import subprocess
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PREEMPT_SIGNAL = signal.SIGUSR2


class Interrupted(BaseException):
    """A signal asked the program to stop.

    Not an `Exception`, so that only the outermost handler catches it.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.status = 128 + number  # the exit status that shells report for this signal


class DeferredInterrupt:
    """Context manager that turns SIGINT, SIGTERM and SIGHUP into `Interrupted`.

    The exception is raised immediately. Between `hold` and `release`, the first signal is only
    recorded in `received`, and the caller raises at the next safe point; a second signal still
    raises immediately.

    SIGUSR2 is handled in the same way if a handler for it is installed: submitit installs one,
    because Slurm announces with it that a job will be preempted. A signal that the process ignores,
    such as SIGHUP under nohup, stays ignored.

    Entering raises `Interrupted` if an outer one that holds signals back has received one.

    Args:
        held: whether signals are held back from the start.
    """

    def __init__(self, held: bool = False) -> None:
        self.held = held
        self.received: int | None = None
        """The last signal."""
        self.numbers = handled_signals()
        if callable(signal.getsignal(PREEMPT_SIGNAL)):
            self.numbers += (PREEMPT_SIGNAL,)

    def __enter__(self) -> "DeferredInterrupt":
        self.previous = {number: signal.getsignal(number) for number in self.numbers}
        for handler in self.previous.values():
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, DeferredInterrupt) and outer.held and outer.received is not None:
                raise Interrupted(outer.received)
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            restore(self.previous)

    def listen(self) -> None:
        """Install the handlers, again if a library has replaced them in the meantime."""
        if threading.current_thread() is threading.main_thread():
            for number in self.numbers:
                signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Record a signal; raise `Interrupted` unless it is the first one and held back."""
        is_first, self.received = self.received is None, number
        if not (self.held and is_first):
            raise Interrupted(number)

    def hold(self) -> None:
        """Only record the first signal from now on."""
        self.listen()
        self.held = True

    def release(self) -> None:
        """Raise immediately from now on."""
        self.held = False


class ForwardedSignals:
    """Context manager that passes each signal on to the processes of a pool, as joblib's.

    They save their state and end, and `Interrupted` is raised then. A second signal, or one that
    comes while no process runs, raises it at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> "ForwardedSignals":
        self.before = {number: signal.signal(number, self.forward) for number in handled_signals()}
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        restore(self.before)
        if self.received is not None and not isinstance(error, Interrupted):
            raise Interrupted(self.received) from error

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        first, self.received = self.received is None, number
        processes = multiprocessing.active_children()
        for process in processes:
            with suppress(OSError):
                os.kill(process.pid or 0, number)
        if not (first and processes):
            raise Interrupted(number)


class ChildProcesses:
    """Context manager that starts child processes and forwards stop signals to all of them."""

    def __init__(self) -> None:
        self.received: list[int] = []
        """The signals so far."""
        self.processes: list[subprocess.Popen[str]] = []
        self.notified: list[subprocess.Popen[str]] = []

    def start(self, command: list[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a child in its own session, so that the terminal's signals reach it only from here.

        Args:
            command: the program and its arguments.
            options: further arguments of `subprocess.Popen`.
        """
        process = subprocess.Popen(command, start_new_session=True, text=True, **options)
        self.processes.append(process)
        # A signal may have arrived before the child was in the list.
        if self.received and process not in self.notified:
            process.send_signal(self.received[0])
        return process

    def __enter__(self) -> "ChildProcesses":
        self.previous = {
            number: signal.signal(number, self.forward) for number in handled_signals()
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        restore(self.previous)

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Send a signal on to all children."""
        self.received.append(number)
        for process in self.processes:
            self.notified.append(process)
            process.send_signal(number)


def handled_signals() -> tuple[int, ...]:
    """The stop signals, without SIGHUP where it is ignored, as under nohup."""
    return tuple(
        number
        for number in STOP_SIGNALS
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN
    )


def restore(handlers: dict[int, Any]) -> None:
    """Install former handlers; None stands for one that was not installed from Python."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
