"""Number of processors, their use by this process, and their idle time."""

import os
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple


class ProcessorUse(NamedTuple):
    """Use of the processors until a moment, or between two."""

    wall: float
    """Seconds of the clock."""
    own: float
    """Processor seconds of all threads of this process."""
    idle: float
    """Seconds in which a processor that this process may use was idle; NaN if unknown."""

    def since(self, before: "ProcessorUse") -> "ProcessorUse":
        """The use after an earlier moment."""
        return ProcessorUse(*(now - then for now, then in zip(self, before, strict=True)))


def read_processor_use(statistics: Path = Path("/proc/stat")) -> ProcessorUse:
    """The use of the processors until now; Linux alone says how long they were idle.

    Args:
        statistics: Linux's file; see proc_stat(5).
    """
    idle = float("nan")
    with suppress(OSError, ValueError, IndexError, AttributeError):
        names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = [line.split() for line in statistics.read_text().splitlines()]
        ticks = sum(int(line[4]) + int(line[5]) for line in lines if line[0] in names)
        idle = ticks / os.sysconf("SC_CLK_TCK") if ticks else idle  # containers may hide it
    return ProcessorUse(perf_counter(), process_time(), idle)


def count_processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
