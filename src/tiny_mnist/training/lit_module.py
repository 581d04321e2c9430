"""The LightningModule: one shared step for training, validation and test."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from tiny_mnist.data import ModelBatch
from tiny_mnist.errors import UserError

Split = Literal["train", "val", "test"]


class LossAndAccuracy(Metric):
    """Mean loss and accuracy over images, summed over processes.

    The original averages its losses over batches, of which the last is smaller; the two differ by
    less than 1e-4. One metric instead of torchmetrics' own pair, because it is updated every few
    milliseconds.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        loss: Float[Tensor, ""],
        log_probs: Float[Tensor, "batch 10"],
        labels: Int64[Tensor, " batch"],
    ) -> None:
        """Count one batch, given its mean loss, which says nothing about no images."""
        if not len(labels):
            return
        self.loss_sum += loss * len(labels)
        self.correct += (log_probs.argmax(dim=1) == labels).sum()
        self.images += len(labels)

    def compute(self) -> dict[str, float]:
        """Mean loss, accuracy in percent and number of images since the last reset.

        NaN before any image.
        """
        images = self.images.item() or math.nan
        return {
            "loss": self.loss_sum.item() / images,
            "accuracy": 100 * self.correct.item() / images,
            "images": images,
        }


class LitClassifier(pl.LightningModule):
    """Trains a network of log-probabilities with the negative log-likelihood.

    Args:
        network: normalised images to log-probabilities.
        optimizer: makes the optimizer of the parameters.
        scheduler: makes the learning-rate schedule of (optimizer, total_steps=…).
        interval: when the schedule advances: every "step" or every "epoch".
        eval_split: whose images the per-epoch evaluation looks at; names its metrics.
        hyper_parameters: plain scalars for the checkpoint, enough to rebuild the network.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        interval: Literal["step", "epoch"] = "step",
        eval_split: Split = "val",
        hyper_parameters: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer, self.scheduler, self.interval = optimizer, scheduler, interval
        self.eval_split = eval_split
        self.hyper_parameters = hyper_parameters or {}
        self.train_metrics = LossAndAccuracy()
        self.val_metrics = LossAndAccuracy()
        self.test_metrics = LossAndAccuracy()
        self.results: dict[str, float] = {}
        """The latest final metrics, as `test_accuracy: 99.53` (percent)."""

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        """Log-probabilities of the ten digits."""
        log_probs: Tensor = self.network(images)
        return log_probs

    def shared_step(self, batch: ModelBatch, split: Split) -> Float[Tensor, ""]:
        """Mean loss of a batch, counted into the metrics of its split."""
        log_probs = self(batch.images)
        loss = F.nll_loss(log_probs, batch.labels)
        self.split_metrics(split).update(loss.detach(), log_probs.detach(), batch.labels)
        return loss

    def training_step(self, batch: ModelBatch) -> Tensor:
        """One step on augmented images, whose metrics are taken as they pass."""
        loss = self.shared_step(batch, "train")
        # Gradients are averaged over processes, of which some may have one image more of the tail.
        local_size = len(batch.labels) * self.trainer.world_size
        return (
            loss
            if batch.global_batch_size in (None, local_size)
            else loss * (local_size / batch.global_batch_size)
        )

    def validation_step(self, batch: ModelBatch) -> None:
        """One batch of the evaluation after each epoch."""
        self.shared_step(batch, self.eval_split)

    def test_step(self, batch: ModelBatch) -> None:
        """One batch of the final evaluation."""
        self.shared_step(batch, "test")

    def on_train_epoch_end(self) -> None:
        """Report the metrics of the training images."""
        self.log_epoch_metrics("train")
        if not math.isfinite(self.results["train_loss"]):
            raise UserError("the training loss is not finite any more; try a smaller optim.max_lr")

    def on_validation_epoch_end(self) -> None:
        """Report the metrics of the epoch's evaluation."""
        self.log_epoch_metrics(self.eval_split)

    def on_test_epoch_end(self) -> None:
        """Report the metrics of the final evaluation."""
        self.log_epoch_metrics("test")

    def split_metrics(self, split: Split) -> LossAndAccuracy:
        """The running metrics of one split."""
        metrics: LossAndAccuracy = getattr(self, f"{split}_metrics")
        return metrics

    def log_epoch_metrics(self, split: Split) -> None:
        """Make the metrics of a split final, for Lightning's monitors too, and begin anew.

        They are reduced over processes here, so every process must call this.
        """
        metrics = self.split_metrics(split)
        values = {f"{split}_{name}": value for name, value in metrics.compute().items()}
        metrics.reset()
        self.results |= values
        self.log_dict(values, logger=False, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer and schedule over all steps of the run, whatever its length."""
        steps = int(self.trainer.estimated_stepping_batches)
        total = steps if self.interval == "step" else self.trainer.max_epochs
        try:
            make = self.optimizer
            if self.device.type == "mps":  # where PyTorch has no fused optimizers
                make = functools.partial(make, fused=None)
            optimizer = make(self.network.parameters())
            scheduler = self.scheduler(optimizer, total_steps=total)
        except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"optim cannot be built for {total} steps: {reason}") from error
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.interval},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Advance the schedule to its last step; in a run that is prolonged, the rate stays there.

        OneCycleLR, told to go further, leaves its own range of rates, and then raises.
        """
        if scheduler.last_epoch + 1 < scheduler.total_steps:
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the network, and the running metrics."""
        checkpoint["hyper_parameters"] = self.hyper_parameters
        gather = gather_all_tensors if self.trainer.world_size > 1 else lambda value: [value]
        checkpoint["train_metrics"] = {  # of each process
            name: torch.stack(gather(getattr(self.train_metrics, name)))
            for name in self.train_metrics.metric_state
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where an epoch was left."""
        for name, values in checkpoint["train_metrics"].items():
            setattr(self.train_metrics, name, values[self.global_rank].to(self.device))
