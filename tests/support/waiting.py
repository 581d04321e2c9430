"""Waiting for another process or thread."""

import time
from collections.abc import Callable

from support.program import WAIT


def wait_until(happened: Callable[[], object], seconds: float = WAIT) -> None:
    """Wait until a function returns something true.

    Raises:
        AssertionError: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"{happened} has not happened within {seconds} s"
        time.sleep(0.02)
