"""The command tiny-mnist-train: train.py of an installed package, with its configurations."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from tiny_mnist import launch

CONFIGS = Path(__file__).resolve().parents[1] / "configs"  # in a clone, a link to configs/


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
def job(config: DictConfig) -> float:
    """Run one job: a run of its own, or one of a sweep."""
    return launch.run_job(config)


def main() -> None:
    """Run the program."""
    launch.run(job, CONFIGS)
