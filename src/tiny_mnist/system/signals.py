"""Ctrl-C and SIGTERM: answered at once, or at the next point where nothing is lost."""

import signal
import subprocess
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PREEMPT_SIGNAL: int | None = getattr(signal, "SIGUSR2", None)  # not on Windows


class Interrupted(BaseException):
    """Someone asked the program to stop. Not an Exception: no one but the outermost may catch it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.status = 128 + number  # what a shell makes of a process that a signal ended


class DeferredInterrupt:
    """While entered, SIGINT and SIGTERM raise `Interrupted`: at once, or held back until asked.

    The second signal is not held back. SIGUSR2 is taken, too, from one who listens to it: submitit
    does, to whom Slurm says so that a job has to leave.
    """

    def __init__(self) -> None:
        self.held = False
        self.received: int | None = None
        listens = PREEMPT_SIGNAL is not None and callable(signal.getsignal(PREEMPT_SIGNAL))
        self.numbers = (
            (*SIGNALS, PREEMPT_SIGNAL) if PREEMPT_SIGNAL is not None and listens else SIGNALS
        )

    def __enter__(self) -> "DeferredInterrupt":
        self.before = {number: signal.getsignal(number) for number in self.numbers}
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals, also from a library that has taken them in the meantime."""
        if threading.current_thread() is threading.main_thread():
            for number in self.numbers:
                signal.signal(number, self.answer)

    def answer(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        first, self.received = self.received is None, number
        if not (self.held and first):
            raise Interrupted(number)

    def hold(self) -> None:
        """From now on only note the first signal, which is looked at between steps."""
        self.listen()
        self.held = True

    def release(self) -> None:
        """From now on interrupt at once."""
        self.held = False


class Children:
    """Processes that are started while this is entered; SIGINT and SIGTERM go on to them."""

    def __init__(self) -> None:
        self.received: list[int] = []
        """The signals so far."""
        self.processes: list[subprocess.Popen[str]] = []
        self.told: list[subprocess.Popen[str]] = []

    def start(self, command: list[str], **options: Any) -> "subprocess.Popen[str]":
        """Start one, in a session of its own: Ctrl-C comes to it once, from here."""
        process = subprocess.Popen(command, start_new_session=True, text=True, **options)
        self.processes.append(process)
        if self.received and process not in self.told:  # the signal came while it was being started
            process.send_signal(self.received[0])
        return process

    def __enter__(self) -> "Children":
        self.before = {number: signal.signal(number, self.answer) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def answer(self, number: int, frame: FrameType | None) -> None:
        """Pass one signal on."""
        self.received.append(number)
        for process in self.processes:
            self.told.append(process)
            process.send_signal(number)
