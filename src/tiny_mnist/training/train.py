"""One training run, from a configuration to a finished run folder."""

import atexit
import logging
import math
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn

from tiny_mnist.config.loading import differences, resolve_config
from tiny_mnist.config.schema import RESUMABLE_KEYS, validate
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.checkpoint_io import AtomicCheckpointIO
from tiny_mnist.runs.folder import Row, RunFolder, save_overridden_config
from tiny_mnist.runs.recovery import latest_valid_checkpoint, roll_back
from tiny_mnist.system.processes import env_world_size
from tiny_mnist.system.signals import DeferredInterrupt
from tiny_mnist.training.callbacks.checkpoint import StepCheckpoint
from tiny_mnist.training.callbacks.progress_bar import ProgressBar
from tiny_mnist.training.callbacks.recorder import CurveLogger, Recorder
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.summary import report
from tiny_mnist.training.tables import make_console, network_table

log = logging.getLogger(__name__)


def train(
    config: DictConfig,
    folder: Path,
    resume: bool = False,
    after_epoch: Callable[[Row], None] | None = None,
) -> float:
    """Train, test and write everything down.

    Args:
        config: the composed configuration, without Hydra's own node.
        folder: the run folder.
        resume: go on with the run in that folder, where its newest whole checkpoint ends.
        after_epoch: is shown the metrics of each epoch, and may end the run by an exception.

    Returns:
        The last epoch's accuracy in percent: on held-out images if there are any, else on the
        test images.

    Raises:
        UserError: a setting or a surrounding that the user can mend.
        Interrupted: Ctrl-C or SIGTERM; what was done until then is saved.
    """
    settings, as_given = resolve_config(config), config
    validate(settings)
    config = OmegaConf.create(settings)  # what is built is what was checked
    check_optim(config)
    quieten_lightning()
    pl.seed_everything(config.seed, verbose=False)

    run, console, signals = RunFolder(folder), make_console(), DeferredInterrupt()
    data: MNISTDataModule = instantiate(config.data)
    classifier = LitClassifier(
        network=instantiate(config.model),
        optimizer=instantiate(config.optim.optimizer),
        scheduler=instantiate(config.optim.scheduler),
        interval=config.optim.interval,
        eval_split=data.eval_split,
        hyper_parameters=settings,
    )
    recorder = Recorder(run, data.eval_split, console.print, after_epoch)
    saver = StepCheckpoint(run.last_checkpoint, settings.get("checkpoint_every"), signals)
    bar = [ProgressBar(data.eval_split)] if console.is_terminal else []
    trainer = build_trainer(
        config,
        default_root_dir=run.path,
        logger=CurveLogger(run),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=bool(bar),
        callbacks=[*bar, recorder, saver],
    )
    atexit.register(destroy_process_group)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu:
        if config.trainer.get("sync_batchnorm"):
            raise UserError("trainer.sync_batchnorm=true needs GPUs: PyTorch has none for the CPU")
        check_memory(classifier.network, data.batch_size // trainer.world_size)
    # Processes that add up their gradients want them laid out like the weights, and oneDNN's are
    # contiguous.
    if not (on_cpu and trainer.world_size > 1):
        classifier.network.to(memory_format=torch.channels_last)
    if mode := settings.get("compile"):
        classifier.network.compile(mode=mode)  # in place: checkpoints keep the names of the weights
    with signals, run.open() if trainer.is_global_zero else nullcontext():
        data.trainer = trainer
        data.setup("fit")  # before anything is changed: it may not be there
        checkpoint = checkpoint_to_resume(run, trainer, settings, console) if resume else None
        if resume and trainer.is_global_zero:
            save_overridden_config(run, as_given)
        if trainer.is_global_zero:
            console.print(network_table(classifier.network), "", sep="\n")
        try:
            trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if saver.begun or not checkpoint:
                raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{checkpoint} does not fit this run: {reason}") from error
        if data.val_size and recorder.rows[-1]["val_accuracy"] is None:  # seen after some epochs
            trainer.validate(classifier, datamodule=data, verbose=False)
        if not recorder.num_test_images:
            trainer.test(classifier, datamodule=data, verbose=False)
            recorder.add_final(classifier.results)
        score = recorder.rows[-1][f"{data.eval_split}_accuracy"]
        if trainer.is_global_zero:
            report(console, trainer, classifier, data, recorder, as_given)
    return math.nan if score is None else score


def checkpoint_to_resume(
    run: RunFolder, trainer: pl.Trainer, settings: dict[str, Any], console: Console
) -> Path | None:
    """The checkpoint from which a run goes on; None when it has not come to one.

    Raises:
        UserError: it belongs to another configuration than the one in the folder.
    """
    if not trainer.is_global_zero:  # which leaves all as it is: the first process cleans up
        found = latest_valid_checkpoint(run)
        return found[0] if found else None
    found = roll_back(run)
    if found is None:
        console.print("No checkpoint yet: beginning anew")
        return None
    path, content = found
    changed = {*differences(content.get("hyper_parameters"), settings)} - {*RESUMABLE_KEYS}
    if changed:
        raise UserError(f"{path} is of another configuration: {', '.join(sorted(changed))}")
    line = f"Going on after step {content.get('global_step')}, from {path}"
    log.info(line)
    console.print(line, soft_wrap=True)
    return path


def check_optim(config: DictConfig) -> None:
    """See that optimizer and schedule can be built, and can take a step, on the smallest network.

    Raises:
        UserError: they refuse a setting, or cannot train a network like this.
    """
    network = TinyCNN(width=2).to(memory_format=torch.channels_last)
    loss = network(torch.zeros(2, 1, 28, 28)).sum()
    loss.backward()
    try:
        optimizer = instantiate(config.optim.optimizer)(network.parameters())
        scheduler = instantiate(config.optim.scheduler)(optimizer, total_steps=100)
        optimizer.step(lambda: loss)
        scheduler.step()
    except InstantiationException as error:
        raise UserError(f"optim: {one_line(error.__cause__ or error)}") from error
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"optim cannot be built: {type(error).__name__}: {one_line(error)}"
        ) from error


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
    needed, there = trainer.num_devices * trainer.num_nodes, env_world_size()
    if there not in (1, needed) or (trainer.num_nodes > there and "NODE_RANK" not in os.environ):
        raise UserError(
            f"trainer.devices={config.trainer.devices} trainer.num_nodes={trainer.num_nodes} needs "
            f"{needed} processes, and {there} was or were started; see docs/scaling.md for torchrun"
        )
    return trainer


def check_memory(network: nn.Module, images: int) -> None:
    """See that a training step fits, for else the kernel ends the process without a word.

    Raises:
        UserError: it does not.
    """
    outputs = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal outputs
        outputs += output.nbytes

    layers = [layer for layer in network.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 1, 28, 28))
    network.train()
    for handle in handles:
        handle.remove()
    needed, there = 2 * images * outputs, physical_memory()  # each output and its gradient
    if there is not None and needed > there:
        raise UserError(
            f"a step on {images} images needs about {needed >> 30} GiB of memory and this machine "
            f"has {there >> 30} GiB; choose a smaller data.batch_size or model.width"
        )


def destroy_process_group() -> None:
    """Leave the group of processes, whose threads would abort a process that ends with them.

    Lightning does so for NCCL alone. Source: PyTorch's documentation of distributed shutdown.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def physical_memory() -> int | None:
    """Bytes of memory in this machine, where the system says so."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def quieten_lightning() -> None:
    """Switch off, one by one, what Lightning would tell the user that does not concern them."""
    # Its own console handlers: what it logs is in the log file, and warnings are shown from there.
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        lightning = logging.getLogger(name)
        lightning.handlers.clear()
        lightning.propagate = True
    # Tips to install other products.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(is_no_advert)
    # On a machine with Slurm, that a run on this machine alone was not started through it.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # Lightning 2.6 builds a tree node in a way that PyTorch 2.15 has deprecated.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")


def is_no_advert(record: logging.LogRecord) -> bool:
    """Whether a log record is something other than a tip."""
    return not record.getMessage().startswith("💡 Tip:")
