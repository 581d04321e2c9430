"""Train the 9,594-parameter network on MNIST.

    python train.py                                   the original's recipe on the best device
    python train.py optim.max_lr=0.5 trainer.max_epochs=3 data.batch_size=256
    python train.py -m optim.max_lr=0.3,0.75 seed=0,1,2    six runs, and a table of them
    python train.py -m seed=0,1,2,3 hydra/launcher=joblib  several at once; =slurm on a cluster
    python train.py -m hydra/sweeper=optuna 'optim.max_lr=tag(log,interval(0.1,2))'
    python train.py trainer=ddp trainer.devices=2     two processes, same global batch
    python train.py resume=latest                     go on with the run that was interrupted
    python train.py resume=SWEEP_FOLDER               … with the jobs that a sweep lacks
    python train.py --help                            all groups and settings

What a run leaves is described in README.md.
"""

import hydra
from omegaconf import DictConfig

from tiny_mnist import launch


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> float:
    """Run one job: a run of its own, or one of a sweep."""
    return launch.run_job(config)


if __name__ == "__main__":
    launch.run(main)
