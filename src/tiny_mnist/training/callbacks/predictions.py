"""Keep what the network says about the test images."""

from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor

from tiny_mnist.data import IdxDataModule
from tiny_mnist.training.lit_module import LitClassifier


class Predictions(pl.Callback):
    """Keeps the log-probabilities of the latest evaluation on test images, for the pictures.

    Only those of IDX images, of which pictures are drawn: other data may be too large to be kept.
    """

    def __init__(self) -> None:
        self.batches: list[Float[Tensor, "batch classes"]] = []
        self.step = -1
        """The number of training steps before that evaluation."""

    def log_probs_after(self, step: int) -> Float[Tensor, "n classes"] | None:
        """Those of the images that this process evaluated after so many training steps.

        Returns:
            None if the latest evaluation was at another step. On the CPU.
        """
        if not self.batches or step != self.step:
            return None
        return torch.cat(self.batches).float().cpu()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the earlier evaluation."""
        self.batches, self.step = [], trainer.global_step

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Keep the output of a batch of test images."""
        assert isinstance(pl_module, LitClassifier)
        if pl_module.eval_split == "test":
            self.keep(trainer, outputs)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the earlier evaluation."""
        self.batches, self.step = [], trainer.global_step

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Keep the output of a batch."""
        self.keep(trainer, outputs)

    def keep(self, trainer: pl.Trainer, log_probs: Tensor) -> None:
        """Add one batch."""
        if isinstance(getattr(trainer, "datamodule", None), IdxDataModule):
            self.batches.append(log_probs)
