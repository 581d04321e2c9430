"""A linear network trained by some processes: `python linear_training.py PROCESSES WEIGHTS_FILE`.

Without batch normalisation, whose statistics are of each process's own images, the number of
processes must not matter.
"""

import functools
import sys

import lightning.pytorch as pl
import torch
from torch import nn

from tiny_mnist.data import MNISTDataModule
from tiny_mnist.training.lit_module import LitClassifier


def main() -> None:
    """Train for two epochs, the last batch of which cannot be shared out evenly."""
    processes, weights = int(sys.argv[1]), sys.argv[2]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))
    classifier = LitClassifier(
        network,
        functools.partial(torch.optim.SGD, lr=0.1),
        functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, cycle_momentum=False),
        eval_split="test",
    )
    trainer = pl.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        max_epochs=2, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(classifier, datamodule=MNISTDataModule(batch_size=100, train_size=1007))
    if trainer.is_global_zero:
        torch.save(network.state_dict(), weights)


if __name__ == "__main__":
    main()
