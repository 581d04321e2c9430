"""Write metrics.csv, one row an epoch."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn

from tiny_mnist.runs.folder import Row, RunFolder
from tiny_mnist.training.callbacks.epoch_end import EpochEndCallback
from tiny_mnist.training.lit_module import LitClassifier, Split

COLUMNS = (
    "epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "learning_rate",
)  # fmt: skip
VAL_COLUMNS = ("val_loss", "val_accuracy")


class MetricsCsv(EpochEndCallback):
    """Writes the metrics of each epoch as soon as they are final.

    An evaluation after the last epoch is added to the last row.

    Args:
        run: the run folder.
        eval_split: the split that every epoch is evaluated on.
    """

    def __init__(self, run: RunFolder, eval_split: Split) -> None:
        self.run = run
        self.columns = COLUMNS if eval_split == "test" else (*COLUMNS, *VAL_COLUMNS)
        self.rows: list[Row] = []
        self.num_images: dict[str, int] = {}
        """Number of images that the latest metrics of each split were measured on."""
        self.evaluation: dict[str, float] = {}
        """Metrics of an evaluation within the epoch that is being trained."""
        self.learning_rate: float | None = None
        """Learning rate at the start of the epoch, as in the original's table."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the learning rate."""
        self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the metrics of the evaluation."""
        assert isinstance(pl_module, LitClassifier)
        self.add_evaluation(trainer, pl_module, pl_module.eval_split)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the metrics of the final evaluation."""
        assert isinstance(pl_module, LitClassifier)
        self.add_evaluation(trainer, pl_module, "test")

    def add_evaluation(self, trainer: pl.Trainer, module: LitClassifier, split: Split) -> None:
        """Put metrics into the row of the current epoch, or into the last row after training."""
        if trainer.sanity_checking:
            return
        metrics = self.collect_metrics(module, split)
        if trainer.state.fn == TrainerFn.FITTING:
            self.evaluation |= metrics
        elif self.rows:
            self.rows[-1] |= metrics
            self.write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of the epoch."""
        assert isinstance(pl_module, LitClassifier)
        if not self.evaluation:  # what the last evaluation saw is another epoch's
            self.num_images.pop(pl_module.eval_split, None)
        metrics = self.collect_metrics(pl_module, "train") | self.evaluation
        row: Row = {column: metrics.get(column) for column in self.columns}
        row |= {"epoch": trainer.current_epoch + 1, "learning_rate": self.learning_rate}
        self.rows.append(row)
        self.evaluation = {}
        self.write(trainer)

    def collect_metrics(self, module: LitClassifier, split: Split) -> dict[str, float]:
        """The metrics of a split that have a column; notes the number of its images."""
        images = module.results.get(f"{split}_images", 0)
        self.num_images[split] = int(images) if images > 0 else 0  # NaN if there are none
        keys = (f"{split}_loss", f"{split}_accuracy")
        return {key: module.results[key] for key in keys if key in module.results}

    def write(self, trainer: pl.Trainer) -> None:
        """Write all rows."""
        if trainer.is_global_zero:
            self.run.write_metrics(self.columns, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and what is known of the next."""
        return {
            "rows": self.rows,
            "num_images": self.num_images,
            "evaluation": self.evaluation,
            "learning_rate": self.learning_rate,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows."""
        self.rows, self.num_images = state_dict["rows"], state_dict["num_images"]
        self.evaluation = state_dict["evaluation"]
        self.learning_rate = state_dict["learning_rate"]
