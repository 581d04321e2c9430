"""The processes that share a training, as torchrun, srun or Lightning tell each of them."""

import os

RANKS = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
STARTED = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def is_rank_zero() -> bool:
    """Whether this process is the one that writes."""
    return all(int(os.environ.get(name, "0")) == 0 for name in RANKS)


def env_world_size() -> int:
    """How many were started side by side by now."""
    return next((int(os.environ[name]) for name in STARTED if name in os.environ), 1)
