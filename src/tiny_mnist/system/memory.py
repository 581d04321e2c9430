"""Keeps freed memory within the process, where the next training step finds it again."""

import ctypes

# From glibc's malloc.h; see mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def tune_malloc() -> None:
    """Tell glibc not to hand freed activations back to the kernel after every step.

    By default each of them is mapped and unmapped anew, and a third of a step goes into page
    faults. Where there is no glibc, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # bytes; the largest value that glibc takes
    mallopt(M_TRIM_THRESHOLD, 1 << 30)
