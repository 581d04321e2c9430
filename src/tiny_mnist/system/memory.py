"""Settings of the memory allocator."""

import ctypes

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
