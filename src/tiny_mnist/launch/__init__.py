"""The seam between Hydra and training."""

from tiny_mnist.launch.program import run, run_job

__all__ = ["run", "run_job"]
