"""The progress bar of a run."""

from time import perf_counter
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tiny_mnist.training.lit_module import LitClassifier, Split
from tiny_mnist.training.metrics import LossAndAccuracy

REFRESH_HZ = 4
UPDATE_SECONDS = 1.0  # between two readings of the running metrics: each waits for the device


class ProgressBar(RichProgressBar):
    """Lightning's Rich bar with running loss and accuracy, updated every `UPDATE_SECONDS`."""

    def __init__(self) -> None:
        super().__init__(
            REFRESH_HZ,
            leave=False,
            theme=RichProgressBarTheme(metrics_format=".4f"),
            console_kwargs={"highlight": False},  # as `make_console`, of the same console
        )
        self.last_update = 0.0

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True  # the line of the epoch takes its place

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Narrow enough, with the metrics, for a terminal of 80 columns."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]

    @property
    def validation_description(self) -> str:
        """Name the images that are evaluated."""
        assert isinstance(self.trainer.lightning_module, LitClassifier)
        return f"Evaluating ({self.trainer.lightning_module.eval_split})"

    @property
    def test_description(self) -> str:
        """Name the images that are evaluated."""
        return "Evaluating (test)"

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar once a second only: moving it takes a good part of a step."""
        now = perf_counter()
        if now - self.last_update >= UPDATE_SECONDS or trainer.is_last_batch:
            self.last_update = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Running loss and accuracy on the training images of the epoch."""
        assert isinstance(pl_module, LitClassifier)
        return running(pl_module.train_metrics)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Show loss and accuracy of the epoch's evaluation, which Lightning's bar does not."""
        super().on_validation_batch_end(trainer, pl_module, *args, **kwargs)
        assert isinstance(pl_module, LitClassifier)
        self.describe(pl_module, pl_module.eval_split, self.val_progress_bar_id)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Show loss and accuracy of the final evaluation."""
        super().on_test_batch_end(trainer, pl_module, *args, **kwargs)
        assert isinstance(pl_module, LitClassifier)
        self.describe(pl_module, "test", self.test_progress_bar_id)

    def describe(self, pl_module: LitClassifier, split: Split, task: TaskID | None) -> None:
        """Put the running metrics of a split into the description of its bar."""
        if self.progress is not None and task is not None:
            metrics = running(pl_module.split_metrics(split))
            text = " ".join(
                f"{name}: {value if isinstance(value, str) else f'{value:.4f}'}"
                for name, value in metrics.items()
            )
            self.progress.update(task, description=f"Evaluating ({split}) {text}")


def running(metrics: LossAndAccuracy) -> dict[str, int | str | float | dict[str, float]]:
    """Loss and accuracy so far, as the bar shows them; nothing before the first image."""
    images = int(metrics.images)
    if not images:
        return {}
    accuracy = 100 * int(metrics.correct) / images
    return {"loss": float(metrics.loss_sum) / images, "accuracy": f"{accuracy:.2f} %"}
