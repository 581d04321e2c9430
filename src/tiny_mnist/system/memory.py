"""Settings of the memory allocator and the garbage collector, and how much memory there is."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# From glibc's malloc.h; see mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def tune_malloc() -> None:
    """Let glibc keep freed memory for the next training step instead of returning it to the kernel.

    By default glibc maps each large tensor anew and unmaps it when it is freed, which costs page
    faults in every step. Without glibc, this function does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # bytes; the largest value that glibc accepts
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


@contextmanager
def keeping_objects() -> Iterator[None]:
    """Collect no garbage, and leave all objects that exist at the end out of later collections.

    For imports: PyTorch and Lightning make half a million objects that stay until the program ends.
    To look for garbage among them takes a fifth of the time of importing them, and delays the end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may use: the machine's, or its container's if that is less.

    Args:
        root: the root of the file system, in which Linux shows control groups; see cgroups(7).

    Returns:
        None where the system does not say.
    """
    limits = []
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for group in memory_groups(root):
        for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1 of cgroups
            with suppress(ValueError, OSError):  # "max", or no such file
                limits.append(int((group / name).read_text()))
    return min(limits, default=None)


def memory_groups(root: Path) -> list[Path]:
    """Folders of this process's control group for memory, and of all groups that contain it."""
    groups = []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
            group = top / path.strip("/")
            groups += [group, *group.parents[: len(group.parts) - len(top.parts)]]
    return groups
