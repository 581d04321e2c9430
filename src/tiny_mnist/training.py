"""One training run, from a configuration to a finished run folder."""

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from omegaconf import DictConfig

from tiny_mnist.allocator import keep_freed_memory
from tiny_mnist.checkpoint import WholeCheckpointIO
from tiny_mnist.classifier import Classifier
from tiny_mnist.config import plain, validate
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.display import ProgressBar, make_console, network_table
from tiny_mnist.errors import UserError
from tiny_mnist.recorder import CurveLogger, Recorder
from tiny_mnist.report import report
from tiny_mnist.run import RunFolder


def train(config: DictConfig, folder: Path) -> float:
    """Train, test and write everything down.

    Args:
        config: the composed configuration, without Hydra's own node.
        folder: the run folder.

    Returns:
        The last epoch's accuracy in percent: on held-out images if there are any, else on the
        test images.

    Raises:
        UserError: a setting or a surrounding that the user can mend.
    """
    settings = plain(config)
    validate(settings)
    keep_freed_memory()
    quieten_lightning()
    pl.seed_everything(config.seed, verbose=False)

    run, console = RunFolder(folder), make_console()
    data: MNISTDataModule = instantiate(config.data)
    classifier = Classifier(
        network=instantiate(config.model).to(memory_format=torch.channels_last),
        optimizer=instantiate(config.optim.optimizer),
        scheduler=instantiate(config.optim.scheduler),
        interval=config.optim.interval,
        epoch_split=data.epoch_split,
        hyper_parameters=settings,
    )
    recorder = Recorder(run, data.epoch_split, announce=console.print)
    bar = [ProgressBar(data.epoch_split)] if console.is_terminal else []
    trainer = build_trainer(
        config,
        default_root_dir=folder,
        logger=CurveLogger(run),
        plugins=[WholeCheckpointIO()],
        enable_progress_bar=bool(bar),
        callbacks=[
            *bar,
            LearningRateMonitor(logging_interval="step"),
            ModelCheckpoint(run.checkpoints, save_last=True, save_top_k=0),
            recorder,
        ],
    )
    if trainer.is_global_zero:
        console.print(network_table(classifier.network), "", sep="\n")
    trainer.fit(classifier, datamodule=data)
    score = classifier.results.get(f"{data.epoch_split}_accuracy", math.nan)
    trainer.test(classifier, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        report(console, trainer, classifier, data, recorder)
    return score


def build_trainer(config: DictConfig, **fixed: Any) -> pl.Trainer:
    """Lightning's Trainer as configured.

    Raises:
        UserError: Lightning refuses a setting, or this machine lacks the device.
    """
    try:
        trainer: pl.Trainer = instantiate(config.trainer, **fixed)
    except InstantiationException as error:
        wanted = f"accelerator={config.trainer.accelerator} devices={config.trainer.devices}"
        raise UserError(f"no trainer with {wanted}: {error.__cause__ or error}") from error
    return trainer


def quieten_lightning() -> None:
    """Switch off, one by one, what Lightning would tell the user that does not concern them."""
    # Its own console handler: what it logs is in the log file, and warnings are shown from there.
    lightning = logging.getLogger("lightning")
    for handler in list(lightning.handlers):
        lightning.removeHandler(handler)
    # Tips to install other products.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(is_no_advert)
    # Lightning 2.6 builds a tree node in a way that PyTorch 2.15 has deprecated.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")


def is_no_advert(record: logging.LogRecord) -> bool:
    """Whether a log record is something other than a tip."""
    return not record.getMessage().startswith("💡 Tip:")
