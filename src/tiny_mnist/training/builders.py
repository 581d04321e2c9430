"""Build the parts of a run from its resolved configuration."""

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from torch import nn

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.models.cpu_layout import use_onednn_layout
from tiny_mnist.runs.checkpoint_io import AtomicCheckpointIO
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.processes import env_world_size
from tiny_mnist.training.callbacks.learning_rate import LearningRates
from tiny_mnist.training.callbacks.metrics_csv import MetricsCsv
from tiny_mnist.training.callbacks.predictions import Predictions
from tiny_mnist.training.callbacks.throughput import Throughput
from tiny_mnist.training.checks import instantiation_failure
from tiny_mnist.training.lit_module import LitClassifier, Split


@dataclass(frozen=True)
class Records:
    """The callbacks whose content becomes the results of a run; every run has them."""

    metrics: MetricsCsv
    throughput: Throughput = field(default_factory=Throughput)
    learning_rates: LearningRates = field(default_factory=LearningRates)
    predictions: Predictions = field(default_factory=Predictions)

    @property
    def callbacks(self) -> list[pl.Callback]:
        """All of them."""
        return [self.metrics, self.throughput, self.learning_rates, self.predictions]


def build_data(config: Mapping[str, Any]) -> pl.LightningDataModule:
    """The data module.

    Raises:
        UserError: it refuses a setting, or is something else.
    """
    data = build(config["data"], "data")
    if not isinstance(data, pl.LightningDataModule):
        raise UserError(f"data._target_={config['data']['_target_']} is not a LightningDataModule")
    return data


def eval_split_of(data: pl.LightningDataModule) -> Split:
    """What a data module evaluates every epoch on; validation images unless it says otherwise."""
    split: Split = getattr(data, "eval_split", "val")
    return split


def build_module(config: Mapping[str, Any], eval_split: Split) -> LitClassifier:
    """The LightningModule with network, optimizer and schedule.

    Raises:
        UserError: one of them refuses a setting.
    """
    try:
        return LitClassifier.from_config(config, eval_split)
    except InstantiationException as error:
        raise UserError(instantiation_failure(error)) from error


def build_callbacks(config: Mapping[str, Any], terminal: bool) -> list[pl.Callback]:
    """The callbacks of the group `callbacks`; progress bars only where they can be seen."""
    wanted = terminal and config["trainer"].get("enable_progress_bar") is not False
    built = [
        build(node, f"callbacks.{name}")
        for name, node in (config.get("callbacks") or {}).items()
        if node
    ]
    return [callback for callback in built if wanted or not isinstance(callback, ProgressBar)]


def build(node: Mapping[str, Any], key: str) -> Any:
    """Instantiate one node of the configuration.

    Raises:
        UserError: the class cannot be built with its settings; names the key.
    """
    try:
        return instantiate(node)
    except InstantiationException as error:
        raise UserError(f"{key}: {instantiation_failure(error)}") from error


def build_trainer(config: Mapping[str, Any], run: RunFolder, **fixed: Any) -> pl.Trainer:
    """Lightning's Trainer as configured.

    Args:
        config: the resolved configuration.
        run: the run folder.
        fixed: further arguments of the Trainer that are not settings.

    Raises:
        UserError: Lightning refuses a setting, or this machine lacks the device.
    """
    settings = config["trainer"]
    bars = [
        callback for callback in fixed.get("callbacks", ()) if isinstance(callback, ProgressBar)
    ]
    plugins = [AtomicCheckpointIO(run), *settings.get("plugins", [])]
    try:
        trainer: pl.Trainer = instantiate(
            settings, **fixed, default_root_dir=run.path, plugins=plugins,
            enable_progress_bar=bool(bars),
        )  # fmt: skip
    except InstantiationException as error:
        if isinstance(error.__cause__, OSError):  # the log cannot be written
            raise error.__cause__ from None
        wanted = f"accelerator={settings['accelerator']} devices={settings['devices']}"
        reason = one_line(error.__cause__ or error)
        raise UserError(f"no trainer with {wanted}: {reason}") from error
    needed, there = trainer.num_devices * trainer.num_nodes, env_world_size()
    if there not in (1, needed) or (trainer.num_nodes > there and "NODE_RANK" not in os.environ):
        raise UserError(
            f"trainer.devices={settings['devices']} trainer.num_nodes={settings['num_nodes']} "
            f"needs {needed} processes, and {there} was or were started; see docs/scaling.md for "
            "torchrun"
        )
    if trainer.strategy.root_device.type == "cpu" and settings.get("sync_batchnorm"):
        raise UserError("trainer.sync_batchnorm=true needs GPUs: PyTorch has none for the CPU")
    return trainer


def choose_layout(network: nn.Module, trainer: pl.Trainer) -> None:
    """Put a network into the memory layout in which its images are trained fastest."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    dimensions = {parameter.dim() for parameter in network.parameters()}
    # Processes that add up their gradients want them laid out like the weights, and oneDNN's are
    # contiguous.
    if not (on_cpu and trainer.world_size > 1) and 4 in dimensions and 5 not in dimensions:
        network.to(memory_format=torch.channels_last)
    if on_cpu:
        use_onednn_layout(network)


def silence_lightning() -> None:
    """Silence messages of Lightning that do not concern the user, one by one."""
    # Its own console handlers: what it logs is in the log file, and warnings are shown from there.
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        lightning = logging.getLogger(name)
        lightning.handlers.clear()
        lightning.propagate = True
    # Tips to install other products.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(is_not_tip)
    # That MLflow's tables and experiment are created.
    for name in ("mlflow.store.db.utils", "alembic", "lightning.pytorch.loggers.mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # On a machine with Slurm, that a run on this machine alone was not started through it.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # Lightning 2.6 builds a tree node in a way that PyTorch 2.15 has deprecated.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")


def is_not_tip(record: logging.LogRecord) -> bool:
    """Whether a log record is something other than a tip."""
    return not record.getMessage().startswith("💡 Tip:")
