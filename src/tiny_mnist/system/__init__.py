"""Operating-system services: atomic files, signals, processes, threads and memory."""

from tiny_mnist.system.atomic_files import atomic_write, check_can_write, remove_unfinished
from tiny_mnist.system.memory import tune_malloc
from tiny_mnist.system.processes import env_world_size, is_rank_zero
from tiny_mnist.system.signals import (
    PREEMPT_SIGNAL,
    ChildProcesses,
    DeferredInterrupt,
    Interrupted,
)
from tiny_mnist.system.threads import configure_openmp

__all__ = [
    "PREEMPT_SIGNAL",
    "ChildProcesses",
    "DeferredInterrupt",
    "Interrupted",
    "atomic_write",
    "check_can_write",
    "configure_openmp",
    "env_world_size",
    "is_rank_zero",
    "remove_unfinished",
    "tune_malloc",
]
