"""What a run writes down while it trains: metrics.csv, TensorBoard curves, one line an epoch."""

import logging
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from tiny_mnist.runs.folder import EVENT_SUFFIX, Row, RunFolder
from tiny_mnist.runs.recovery import event_file_sizes
from tiny_mnist.training.lit_module import LitClassifier

log = logging.getLogger(__name__)

COLUMNS = (
    "epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "learning_rate",
)  # fmt: skip
VAL_COLUMNS = ("val_loss", "val_accuracy")
LOSS_TAG, ACCURACY_TAG, RATE_TAG = "loss", "accuracy (%)", "learning_rate"  # TensorBoard's charts


class CurveLogger(TensorBoardLogger):
    """TensorBoard files directly in the run folder."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(
            run.path, name="", version="", default_hp_metric=False, filename_suffix=EVENT_SUFFIX
        )

    def save(self) -> None:
        """Flush. No hparams.yaml: `.hydra/` holds the configuration."""
        self.experiment.flush()


# A Checkpoint, because Lightning calls those last, when the metrics of the epoch are final.
class Recorder(Checkpoint):
    """Writes each epoch's metrics as soon as they are final.

    Args:
        run: where to write.
        eval_split: whose images every epoch is evaluated on, "test" or "val".
        print_fn: shows one line to the person who is watching.
        after_epoch: is given each epoch's row, and may end the run by an exception.
    """

    def __init__(
        self,
        run: RunFolder,
        eval_split: str,
        print_fn: Callable[[str], None],
        after_epoch: Callable[[Row], None] | None = None,
    ) -> None:
        self.run, self.eval_split = run, eval_split
        self.print_fn, self.after_epoch = print_fn, after_epoch
        self.columns = COLUMNS if eval_split == "test" else (*COLUMNS, *VAL_COLUMNS)
        self.rows: list[Row] = []
        self.seconds = 0.0
        """Spent in training steps, before `running_since`."""
        self.running_since: float | None = None
        self.images = 0
        """Seen in training, over all processes."""
        self.num_test_images = 0
        """Test images that the test figures of the last row are about."""
        self.writers: dict[str, SummaryWriter] = {}
        self.rates: list[tuple[float, int, float]] = []
        """(learning rate, step, time in seconds since 1970) of the steps not yet written down."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open one TensorBoard run for each split: the same tag then shares one chart."""
        self.running_since = self.epoch_started = perf_counter()  # in the middle of it, if resumed
        if trainer.is_global_zero:
            self.writers = {
                split: SummaryWriter(self.run.path / split, filename_suffix=EVENT_SUFFIX)
                for split in ("train", self.eval_split)
            }

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the learning rate at the start of the epoch, as the original does."""
        self.learning_rate = current_rate(trainer)
        self.running_since = self.epoch_started = perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate of the step."""
        self.rates.append((current_rate(trainer), trainer.global_step, time()))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count images and time."""
        self.images += batch.global_batch_size
        if trainer.is_last_batch:
            self.seconds, self.running_since = self.seconds_so_far, None

    @property
    def seconds_so_far(self) -> float:
        """Spent in training steps until now."""
        running = 0.0 if self.running_since is None else perf_counter() - self.running_since
        return self.seconds + running

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of this."""
        return {
            "rows": self.rows,
            "seconds": self.seconds_so_far,
            "images": self.images,
            "learning_rate": self.learning_rate,
            "num_test_images": self.num_test_images,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]
        self.images, self.learning_rate = state_dict["images"], state_dict["learning_rate"]
        self.num_test_images = state_dict["num_test_images"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note how long the TensorBoard files are, so that a resumed run can cut them there."""
        if trainer.is_global_zero:
            self.write_rates(trainer)
            for writer in self.writers.values():
                writer.flush()
            for logger in trainer.loggers:
                logger.save()
            checkpoint["curves"] = event_file_sizes(self.run)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of the epoch."""
        epoch = trainer.current_epoch + 1
        assert isinstance(pl_module, LitClassifier)
        metrics, pl_module.results = pl_module.results, {}  # the next epoch may measure less
        self.num_test_images = round(metrics.get("test_images", 0))
        row: Row = {column: metrics.get(column) for column in self.columns}
        row |= {"epoch": epoch, "learning_rate": self.learning_rate}
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        self.run.write_metrics(self.columns, self.rows)
        self.write_rates(trainer)
        parts = [f"Epoch {epoch:>2}/{trainer.max_epochs}"]
        for split, writer in self.writers.items():
            loss, accuracy = metrics.get(f"{split}_loss"), metrics.get(f"{split}_accuracy")
            if loss is None or accuracy is None:
                continue
            writer.add_scalar(LOSS_TAG, loss, epoch)
            writer.add_scalar(ACCURACY_TAG, accuracy, epoch)
            parts.append(f"{split} {loss:.4f} {accuracy:5.2f} %")
        parts.append(f"{perf_counter() - self.epoch_started:.1f} s")
        line = "  ".join(parts)
        log.info(line)
        self.print_fn(line)
        if self.after_epoch:
            self.after_epoch(row)

    def write_rates(self, trainer: pl.Trainer) -> None:
        """Draw the learning-rate curve on, many steps at once: each by itself slows a step down."""
        logger = trainer.logger
        assert isinstance(logger, CurveLogger)
        for rate, step, moment in self.rates:
            logger.experiment.add_scalar(RATE_TAG, rate, step, walltime=moment)
        self.rates = []

    def add_final(self, metrics: dict[str, float]) -> None:
        """Fill the columns of the last epoch, which may not have looked at these images itself."""
        self.num_test_images = round(metrics["test_images"])
        self.rows[-1] |= {column: metrics[column] for column in self.columns if column in metrics}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the TensorBoard files."""
        for writer in self.writers.values():
            writer.close()
        self.writers = {}


def current_rate(trainer: pl.Trainer) -> float:
    """The learning rate of the step to come."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])
