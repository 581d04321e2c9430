"""Stop signals: immediate, deferred, ignored, and forwarded to child processes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from tiny_mnist.system.signals import ChildProcesses, DeferredInterrupt, Interrupted

STOP = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """Handle signals as a program started from a terminal does."""
    previous = {number: signal.getsignal(number) for number in STOP}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP)
def test_signal_raises_immediately(number: int) -> None:
    with DeferredInterrupt(), pytest.raises(Interrupted) as interrupted:
        send(number)
    assert interrupted.value.status == 128 + number


@pytest.mark.parametrize("number", STOP)
def test_first_signal_is_deferred_and_second_raises_immediately(number: int) -> None:
    with DeferredInterrupt() as interrupt:
        interrupt.hold()
        send(number)
        assert interrupt.received == number
        with pytest.raises(Interrupted):
            send(number)


@pytest.mark.parametrize("number", STOP)
def test_signal_raises_immediately_after_release(number: int) -> None:
    with DeferredInterrupt() as interrupt:
        interrupt.hold()
        interrupt.release()
        with pytest.raises(Interrupted):
            send(number)


def test_former_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in STOP]
    with DeferredInterrupt(), ChildProcesses():
        assert [signal.getsignal(number) for number in STOP] != before
    assert [signal.getsignal(number) for number in STOP] == before


def test_ignored_sighup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with DeferredInterrupt() as interrupt, ChildProcesses() as children:
        send(signal.SIGHUP)
    assert interrupt.received is None
    assert children.received == []


REPORT_SIGNAL = textwrap.dedent("""
    import signal, sys

    def handle(number, frame):
        print(number, flush=True)
        sys.exit()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    print("ready", flush=True)
    signal.pause()
    """)


@pytest.mark.parametrize("number", STOP)
def test_signal_is_forwarded_to_all_child_processes(number: int) -> None:
    command = [sys.executable, "-c", REPORT_SIGNAL]
    with ChildProcesses() as children:
        started = [children.start(command, stdout=subprocess.PIPE) for _ in range(2)]
        for child in started:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        send(number)
        assert [child.communicate()[0] for child in started] == [f"{number}\n"] * 2
    assert children.received == [number]


def test_child_that_starts_after_the_signal_receives_it() -> None:
    with ChildProcesses() as children:
        send(signal.SIGHUP)
        child = children.start([sys.executable, "-c", "import signal; signal.pause()"])
        assert child.wait() == -signal.SIGHUP


def test_a_signal_that_an_outer_context_holds_back_interrupts_the_next_one() -> None:
    """As between two jobs of a process of a pool."""
    with DeferredInterrupt(held=True) as outer:
        with DeferredInterrupt():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert outer.received == signal.SIGTERM
        with pytest.raises(Interrupted), DeferredInterrupt():
            pytest.fail("the signal is lost")
