"""Rank and number of the processes of one training, read from the environment.

The variables are those that torchrun, srun and Lightning's launchers set.
"""

import os

RANK_VARIABLES = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
WORLD_SIZE_VARIABLES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def is_rank_zero() -> bool:
    """Whether this process is the one that writes files and messages."""
    return all(int(os.environ.get(name, "0")) == 0 for name in RANK_VARIABLES)


def env_world_size() -> int:
    """Number of processes that a launcher has started so far; 1 without a launcher."""
    sizes = (os.environ[name] for name in WORLD_SIZE_VARIABLES if name in os.environ)
    return int(next(sizes, "1"))
