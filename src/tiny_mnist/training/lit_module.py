"""The LightningModule: one shared step for training, validation and test."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics.utilities.distributed import gather_all_tensors

from tiny_mnist.config.trust import check_trusted
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.training.metrics import LossAndAccuracy

Split = Literal["train", "val", "test"]


class LitClassifier(pl.LightningModule):
    """Trains a classifier whose network outputs log-probabilities, with NLL loss.

    Batches are tuples of (images, labels, …). Logs `{split}_loss`, `{split}_accuracy` (percent) and
    `{split}_images` at the end of each epoch and evaluation.

    Args:
        network: the network, from normalised images to log-probabilities.
        optimizer: a function that makes the optimizer of the parameters; needed for training alone.
        scheduler: a function that makes the learning-rate schedule of the optimizer; it is given
            `total_steps` too if it has an argument of that name.
        interval: when the schedule advances: every "step" or every "epoch".
        eval_split: the split that `validation_step` evaluates; names its metrics.
        hyper_parameters: plain values for the checkpoint. With the nodes `model` and `optim` of a
            configuration, `load_from_checkpoint` needs no arguments.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        interval: Literal["step", "epoch"] = "step",
        eval_split: Split = "val",
        hyper_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if hyper_parameters:
            self.save_hyperparameters(dict(hyper_parameters), logger=False)
        self.network = network
        self.optimizer, self.scheduler, self.interval = optimizer, scheduler, interval
        self.eval_split = eval_split
        self.train_metrics = LossAndAccuracy()
        self.val_metrics = LossAndAccuracy()
        self.test_metrics = LossAndAccuracy()
        self.results: dict[str, float] = {}
        """The latest metrics of each split in full precision, as `test_accuracy: 99.53`."""

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Log-probabilities of the classes."""
        log_probs: Tensor = self.network(images)
        return log_probs

    def shared_step(
        self, batch: Any, split: Split
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
        """Mean loss and log-probabilities of a batch, counted into the metrics of its split."""
        images, labels, *_ = batch
        log_probs = self(images)
        loss = F.nll_loss(log_probs, labels)
        self.split_metrics(split).update(loss.detach(), log_probs.detach(), labels)
        return loss, log_probs

    def training_step(self, batch: Any) -> Tensor:
        """One training step; its metrics are those of the augmented images in training mode."""
        loss, _ = self.shared_step(batch, "train")
        global_batch_size = getattr(batch, "global_batch_size", None)
        if global_batch_size is None:
            return loss
        # Gradients are averaged over processes, of which some may have one image more of the tail.
        local_size = len(batch.labels) * self.trainer.world_size
        return loss if local_size == global_batch_size else loss * (local_size / global_batch_size)

    def validation_step(self, batch: Any) -> Tensor:
        """Log-probabilities of one batch of the evaluation after each epoch."""
        return self.shared_step(batch, self.eval_split)[1]

    def test_step(self, batch: Any) -> Tensor:
        """Log-probabilities of one batch of the final evaluation."""
        return self.shared_step(batch, "test")[1]

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training images.

        Raises:
            UserError: the loss is not finite any more.
        """
        values = self.log_epoch_metrics("train")
        # Lightning hands the metrics of the training images to the loggers after the checkpoint of
        # the epoch is saved, and a resumed run would lack them.
        for logger in self.loggers:
            logger.log_metrics({**values, "epoch": self.current_epoch}, step=self.global_step)
        if not math.isfinite(values["train_loss"]):
            raise UserError("the training loss is not finite any more; try a smaller optim.max_lr")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the epoch's evaluation."""
        self.log_epoch_metrics(self.eval_split)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the final evaluation."""
        self.log_epoch_metrics("test")

    def split_metrics(self, split: Split) -> LossAndAccuracy:
        """The running metrics of one split."""
        metrics: LossAndAccuracy = getattr(self, f"{split}_metrics")
        return metrics

    def log_epoch_metrics(self, split: Split) -> dict[str, float]:
        """Reduce the metrics of a split over processes, log and reset them.

        Every process must call this.
        """
        metrics = self.split_metrics(split)
        values = {f"{split}_{name}": value for name, value in metrics.compute().items()}
        metrics.reset()
        self.results |= values
        self.log_dict(values, logger=bool(self.loggers) and split != "train", sync_dist=True)
        return values

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer and schedule over all steps of the run, whatever its length.

        Raises:
            UserError: they cannot be built for this number of steps.
        """
        if self.optimizer is None:
            raise UserError("LitClassifier(network, optimizer=…) is needed for training")
        steps = int(self.trainer.estimated_stepping_batches)
        total = steps if self.interval == "step" else self.trainer.max_epochs
        make = self.optimizer
        # PyTorch has no fused optimizers for Apple's GPUs.
        if self.device.type == "mps" and getattr(make, "keywords", {}).get("fused"):
            make = functools.partial(make, fused=None)
        try:
            optimizer = make(self.network.parameters())
            if self.scheduler is None:
                return optimizer
            scheduler = make_scheduler(self.scheduler, optimizer, total)
        except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise UserError(f"optim cannot be built for {total} steps: {reason}") from error
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.interval},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Advance the schedule to its last step; in a run that is prolonged, the rate stays there.

        OneCycleLR would leave its range of rates beyond its last step, and then raise.
        """
        total = getattr(scheduler, "total_steps", None)
        if total is None or scheduler.last_epoch + 1 < total:
            super().lr_scheduler_step(scheduler, metric)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the running metrics, so that an epoch can be resumed in its middle."""
        gather = gather_all_tensors if self.trainer.world_size > 1 else lambda value: [value]
        checkpoint["train_metrics"] = {  # of each process
            name: torch.stack(gather(getattr(self.train_metrics, name)))
            for name in self.train_metrics.metric_state
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the running metrics."""
        for name, values in checkpoint.get("train_metrics", {}).items():
            setattr(self.train_metrics, name, values[self.global_rank].to(self.device))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], eval_split: Split = "val") -> "LitClassifier":
        """Build the module, with network, optimizer and schedule, from a resolved configuration.

        Raises:
            InstantiationException: a class cannot be built with its settings.
        """
        return cls(**build_components(config), eval_split=eval_split, hyper_parameters=config)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, *args: Any, trust: bool = False, **kwargs: Any
    ) -> "LitClassifier":
        """Rebuild a trained module from its checkpoint, as Lightning's method of that name does.

        Args:
            checkpoint_path: the checkpoint.
            args: further arguments of Lightning's method.
            trust: whether the checkpoint may name classes other than this package's listed ones,
                `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.
            kwargs: keyword arguments of Lightning's method; `network`, `optimizer` and the like
                replace what the checkpoint says.

        Raises:
            UserError: the checkpoint cannot be read, or names a class that is not trusted.
        """
        saved = read_checkpoint(Path(checkpoint_path)).get("hyper_parameters", {})
        if "network" not in kwargs and "model" in saved:
            if not trust:
                parts = {name: saved.get(name) for name in ("model", "optim")}
                check_trusted(parts, Path(checkpoint_path))
            kwargs = build_components(saved) | kwargs
        # Otherwise Lightning adds the other arguments to the saved ones.
        kwargs.setdefault("hyper_parameters", saved)
        loaded: LitClassifier = super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        return loaded


def build_components(config: Mapping[str, Any]) -> dict[str, Any]:
    """Network, optimizer and schedule of a configuration, as arguments of `LitClassifier`."""
    optim = config.get("optim") or {}
    return {
        "network": instantiate(config["model"]),
        "optimizer": instantiate(optim.get("optimizer")),
        "scheduler": instantiate(optim.get("scheduler")),
        "interval": optim.get("interval", "step"),
    }


def make_scheduler(
    make: Callable[..., LRScheduler], optimizer: Optimizer, total_steps: int | None
) -> LRScheduler:
    """Make a learning-rate schedule, with the length of the run if it takes it.

    Raises:
        UserError: it needs a metric, which no schedule is given here.
    """
    takes_length = "total_steps" in inspect.signature(make).parameters
    scheduler = make(optimizer, **({"total_steps": total_steps} if takes_length else {}))
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"optim.scheduler: {type(scheduler).__name__} needs a metric at each step, and "
            "schedules here depend on the step or epoch alone; choose another, such as StepLR"
        )
    return scheduler
