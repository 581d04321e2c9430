"""The environment variables of OpenMP, which runs PyTorch's operations on several threads."""

import os

SPIN_COUNT = 10_000  # iterations of libgomp's waiting loop: a few tenths of a millisecond
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def configure_openmp() -> None:
    """Limit how long OpenMP's threads spin for each other; call it before torch is imported.

    A training step has hundreds of short parallel regions. At the end of each, the threads wait for
    the last one. GNU's OpenMP library, which PyTorch's Linux wheels load, by default spins for some
    milliseconds before it sleeps. When other processes keep the processors busy, a spinning thread
    occupies a processor that the last thread needs, and training is more than ten times slower; see
    docs/performance.md. The number of threads stays the same, and with it the result.

    Child processes inherit the setting. A variable that the user has set is respected.
    """
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
