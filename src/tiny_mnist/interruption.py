"""Ctrl-C and SIGTERM: answered at once, or at the next point where nothing is lost."""

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Someone asked the program to stop. Not an Exception: no one but the outermost may catch it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number  # what a shell makes of a process that a signal ended


class Signals:
    """While entered, SIGINT and SIGTERM raise `Interrupted`: at once, or held back until asked.

    The second signal is not held back.
    """

    def __init__(self) -> None:
        self.held = False
        self.received: int | None = None

    def __enter__(self) -> "Signals":
        self.before = {number: signal.getsignal(number) for number in SIGNALS}
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
            for number in SIGNALS:
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
