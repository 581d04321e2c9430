"""Keep what the network says about the test images."""

from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor

from tiny_mnist.training.lit_module import LitClassifier


class Predictions(pl.Callback):
    """Keeps the log-probabilities of the latest evaluation on test images, for the pictures."""

    def __init__(self) -> None:
        self.batches: list[Float[Tensor, "batch classes"]] = []

    @property
    def log_probs(self) -> Float[Tensor, "n classes"] | None:
        """Those of the images that this process evaluated, on the CPU; None before any."""
        return torch.cat(self.batches).cpu() if self.batches else None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the evaluation of an earlier epoch."""
        self.batches = []

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
            self.batches.append(outputs)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the evaluation of an earlier epoch."""
        self.batches = []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Keep the output of a batch."""
        self.batches.append(outputs)
