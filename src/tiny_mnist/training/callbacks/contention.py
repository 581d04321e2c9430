"""Tell that other processes use the processors."""

import logging
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from rich import get_console

from tiny_mnist.system.processor_use import (
    ProcessorUse,
    count_processors,
    read_processor_use,
)

log = logging.getLogger(__name__)

WINDOW = 1.0  # seconds of training steps, over which the use of the processors is measured
WINDOWS = 3  # in a row, so that a short disturbance is not mentioned
OWN_SHARE = 0.9  # of the time of the processors that the threads could use; undisturbed, over 0.99
IDLE_SHARE = 0.05  # of the processors; where more is idle, nobody disturbs


class ContentionWarning(pl.Callback):
    """Says once a run that one thread would train faster, if others keep the processors busy.

    The threads of an operation wait for each other hundreds of times a step, so that a run with
    several of them is slowed down many times, and one with a single thread hardly: "Busy
    neighbours" in docs/performance.md. The number of threads changes the rounding, so it is left
    to the user. Measured with two threads; with many, one busy process may stay unnoticed. Systems
    other than Linux do not say how busy they are.
    """

    def __init__(self) -> None:
        self.is_watching = False
        self.start = read_processor_use()
        """Use of the processors at the start of the window."""
        self.busy_windows = 0
        """Windows in a row in which other processes used the processors."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch where several threads of the CPU train; begin a window, if within an epoch."""
        self.start = read_processor_use()
        on_cpu = trainer.strategy.root_device.type == "cpu"
        self.is_watching = trainer.is_global_zero and on_cpu and torch.get_num_threads() > 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a window, which leaves out what is between two epochs."""
        self.start = read_processor_use()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a window, which leaves the evaluation out."""
        self.start = read_processor_use()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Judge each window at its end."""
        if not self.is_watching or perf_counter() - self.start.wall < WINDOW:
            return
        now = read_processor_use()
        use, self.start = now.since(self.start), now
        self.busy_windows = self.busy_windows + 1 if is_contended(use) else 0
        if self.busy_windows == WINDOWS:
            self.is_watching = False
            line = (
                "Other processes keep the processors busy: training gets "
                f"{use.own / use.wall:.1f} of {count_usable()}. With OMP_NUM_THREADS=1 it is often "
                "several times as fast beside them, but rounds differently. Ctrl-C keeps what is "
                "done."
            )
            log.info(line)
            get_console().print(line)


def is_contended(use: ProcessorUse) -> bool:
    """Whether threads of this process had to wait for a processor; False where it is unknown."""
    own = use.own / (count_usable() * use.wall)
    idle = use.idle / (count_processors() * use.wall)  # NaN if unknown, which is not below
    return own < OWN_SHARE and idle < IDLE_SHARE


def count_usable() -> int:
    """Number of processors that the threads can use at once."""
    return min(torch.get_num_threads(), count_processors())
