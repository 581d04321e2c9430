"""One training run, from a configuration to a finished run folder."""

import atexit
import logging
import math
from contextlib import nullcontext
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.data import IdxDataModule
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.runs.folder import RunFolder, save_overridden_config
from tiny_mnist.runs.metadata import git_commit
from tiny_mnist.system.signals import DeferredInterrupt
from tiny_mnist.system.terminal import make_console
from tiny_mnist.training.builders import (
    Records,
    build_callbacks,
    build_data,
    build_module,
    build_trainer,
    choose_layout,
    eval_split_of,
    silence_lightning,
)
from tiny_mnist.training.callbacks.checkpoint import StepCheckpoint
from tiny_mnist.training.callbacks.metrics_csv import MetricsCsv
from tiny_mnist.training.checks import (
    IMAGE_SHAPE,
    check_classes,
    check_last_batch,
    check_memory,
    check_monitors,
    check_num_classes,
    check_optim,
    fill_num_classes,
)
from tiny_mnist.training.environment import flushing_denormals, restoring_threads
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.loggers import open_loggers
from tiny_mnist.training.resume import restore_run_folder, was_raised_by_restoring
from tiny_mnist.training.summary import report_run
from tiny_mnist.training.tables import network_table

log = logging.getLogger(__name__)

MIN_WIDTH = 100  # columns of what a run prints where it is piped


def train(config: DictConfig, folder: Path, resume: bool = False) -> float:
    """Train, evaluate and write everything into the run folder.

    Args:
        config: the composed configuration.
        folder: the run folder.
        resume: go on with the run in that folder, from its newest valid checkpoint.

    Returns:
        The accuracy after the last epoch in percent: on held-out images if there are any, else on
        the test images. NaN if neither was measured.

    Raises:
        UserError: a setting, or something on this machine, that the user can fix.
        Interrupted: Ctrl-C or SIGTERM; everything until then is saved.
    """
    # Check
    settings = resolve_config(config)
    validate(settings)
    check_classes(settings)

    # Build
    silence_lightning()
    run, signals = RunFolder(folder), DeferredInterrupt()
    console = make_console(MIN_WIDTH, shared=True)
    data = build_data(settings)
    num_classes = getattr(data, "num_classes", None)
    settings = fill_num_classes(settings, num_classes)
    check_optim(settings)
    pl.seed_everything(settings["seed"], verbose=False)  # after the check, which builds a network
    module = build_module(settings, eval_split_of(data))
    check_num_classes(module.network, num_classes, image_shape_of(data))
    records = Records(MetricsCsv(run, module.eval_split))
    callbacks = build_callbacks(settings, console.is_terminal)
    check_monitors(callbacks, module.eval_split)
    checkpoints = StepCheckpoint(run, settings.get("checkpoint_every"), signals)
    trainer = build_trainer(
        settings,
        run,
        logger=False,  # opened last
        callbacks=[*records.callbacks, *callbacks, checkpoints],
    )
    check_batch_fits(module, data, trainer)
    choose_layout(module.network, trainer)
    atexit.unregister(destroy_process_group)  # by an earlier run of this process
    atexit.register(destroy_process_group)

    with (
        signals, restoring_threads(), flushing_denormals(),
        run.open() if trainer.is_global_zero else nullcontext(),
    ):  # fmt: skip
        if isinstance(data, IdxDataModule):
            data.trainer = trainer
            data.setup("fit")  # before anything is changed: the files may be absent
            check_last_batch(
                module.network, len(data.train_indices), data.batch_size, trainer.world_size,
                trainer.limit_train_batches,
            )  # fmt: skip
        checkpoint = restore_run_folder(run, trainer, settings, console) if resume else None
        if trainer.is_global_zero:
            console.print(network_table(module.network, image_shape_of(data)), "", sep="\n")
        with open_loggers(settings, run, trainer, resume):
            if resume and trainer.is_global_zero:
                save_overridden_config(run, config)

            # Fit
            begun_at = git_commit() if trainer.is_global_zero else None
            try:
                trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                if checkpoint is None or not was_raised_by_restoring(error):
                    raise
                raise UserError(
                    f"{checkpoint} does not fit this run: {one_line(error)[:200]}"
                ) from error

            # Evaluate what the last epoch did not
            seen = records.metrics.num_images
            held_out = module.eval_split == "val" and has_images(data, "val", trainer)
            if held_out and "val" not in seen:
                trainer.validate(module, datamodule=data, verbose=False)
            if "test" not in seen and has_images(data, "test", trainer):
                trainer.test(module, datamodule=data, verbose=False)

            # Report
            if trainer.is_global_zero:
                report_run(console, trainer, module, data, records, config, begun_at)
    score = records.metrics.rows[-1].get(f"{module.eval_split}_accuracy")
    return math.nan if score is None else score


def check_batch_fits(
    module: LitClassifier, data: pl.LightningDataModule, trainer: pl.Trainer
) -> None:
    """Check that a batch of a process on the CPU fits into memory, if its size is known.

    Raises:
        UserError: it does not.
    """
    batch_size = getattr(data, "batch_size", None)
    if trainer.strategy.root_device.type == "cpu" and isinstance(batch_size, int):
        check_memory(module.network, batch_size // trainer.world_size, image_shape_of(data))


def image_shape_of(data: pl.LightningDataModule) -> tuple[int, ...]:
    """Channels, height and width of the images that a data module feeds."""
    return tuple(getattr(data, "image_shape", IMAGE_SHAPE))


def has_images(data: pl.LightningDataModule, split: str, trainer: pl.Trainer) -> bool:
    """Whether there is anything to evaluate on."""
    limit = trainer.limit_val_batches if split == "val" else trainer.limit_test_batches
    return bool(limit) and is_overridden(f"{split}_dataloader", data, pl.LightningDataModule)


def destroy_process_group() -> None:
    """Leave the group of processes, whose threads would abort a process that ends with them.

    Lightning does so for NCCL alone. Source: PyTorch's documentation of distributed shutdown.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
