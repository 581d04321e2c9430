"""TensorBoard curves of a run."""

import re
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from tiny_mnist.runs.folder import EVENT_SUFFIX

TAGS = {"loss": "loss", "accuracy": "accuracy (%)"}
EPOCH_METRIC = re.compile(r"(train|val|test)_(loss|accuracy|images)")


class CurveLogger(TensorBoardLogger):
    """Draws the metrics of all splits into shared charts, against the epoch.

    Each split is a TensorBoard run of its own, a subfolder. The evaluations within training are
    drawn; a final evaluation on test images is not, so that the charts of a run that holds images
    out have no test points.

    Args:
        save_dir: the run folder, whose files are written there directly.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(
            save_dir, name="", version="", default_hp_metric=False, filename_suffix=EVENT_SUFFIX
        )
        self.writers: dict[str, SummaryWriter] = {}
        self.pending: dict[str, float] = {}

    @property
    def log_dir(self) -> str:
        """The run folder as it is; Lightning would expand `~` and `$NAME` in its name."""
        return str(self.save_dir)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Draw an epoch once the metrics of its training images are there; log others as usual."""
        others = {n: v for n, v in metrics.items() if n != "epoch" and not EPOCH_METRIC.match(n)}
        if others:
            super().log_metrics(others, step)
        self.pending |= {n: v for n, v in metrics.items() if EPOCH_METRIC.match(n)}
        if "train_loss" in metrics:
            self.draw(int(metrics["epoch"]) + 1)

    def draw(self, epoch: int) -> None:
        """Add the points of an epoch, counted from 1."""
        for name, value in self.pending.items():
            split, _, quantity = name.partition("_")
            if quantity in TAGS:
                if split not in self.writers:
                    self.writers[split] = SummaryWriter(
                        Path(self.save_dir) / split, filename_suffix=EVENT_SUFFIX
                    )
                self.writers[split].add_scalar(TAGS[quantity], value, epoch)
        self.pending = {}

    @rank_zero_only
    def save(self) -> None:
        """Write everything to the files. No hparams.yaml: `.hydra/` holds the configuration."""
        for writer in (self.experiment, *self.writers.values()):
            writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the files."""
        super().finalize(status)
        for writer in self.writers.values():
            writer.close()
