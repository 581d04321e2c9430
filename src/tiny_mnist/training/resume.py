"""Resume a run from its newest valid checkpoint."""

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loops import fit_loop
from lightning.pytorch.trainer.connectors import checkpoint_connector
from rich.console import Console

from tiny_mnist.config.loading import differences
from tiny_mnist.config.schema import RESUMABLE_KEYS
from tiny_mnist.errors import UserError, display_path
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.recovery import latest_valid_checkpoint, roll_back
from tiny_mnist.training.environment import match_environment

log = logging.getLogger(__name__)


def restore_run_folder(
    run: RunFolder, trainer: pl.Trainer, settings: Mapping[str, Any], console: Console
) -> Path | None:
    """Put the run folder back to its newest valid checkpoint, and restore the number of threads.

    Args:
        run: the run folder, which the first process has opened.
        trainer: the run's Trainer; processes other than the first only look the checkpoint up.
        settings: the resolved configuration.
        console: prints where the run goes on, and what differs from its first start.

    Returns:
        The checkpoint; None if the run has not written one yet.

    Raises:
        UserError: it belongs to another configuration than the one in the folder.
    """
    if not trainer.is_global_zero:
        found = latest_valid_checkpoint(run)
        return found[0] if found else None
    found = roll_back(run)
    if found is None:
        console.print("No checkpoint yet: beginning anew")
        return None
    path, content = found
    check_fits(path, content, settings)
    lines = [f"Going on after step {content.get('global_step')}, from {display_path(path)}"]
    if trainer.world_size == 1:  # else Lightning shares the cores out among the processes
        lines += match_environment(content.get("environment", {}))
    for line in lines:
        log.info(line)
        console.print(line, soft_wrap=True, markup=False)
    return path


def check_fits(path: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Check that a checkpoint is of this configuration, and has the state of its optimizer.

    Args:
        path: the checkpoint, for the message.
        content: the content of the checkpoint.
        settings: the resolved configuration.

    Raises:
        UserError: it is of another one; the message names the keys that differ.
    """
    saved = content.get("hyper_parameters")
    if not isinstance(saved, dict):
        raise UserError(f"{path} is of another configuration: it has no hyper_parameters")
    changed = {*differences(saved, settings)} - {*RESUMABLE_KEYS}
    if changed:
        raise UserError(f"{path} is of another configuration: {', '.join(sorted(changed))}")
    for name, number in (
        ("optimizer_states", 1),
        ("lr_schedulers", 1 if (settings.get("optim") or {}).get("scheduler") else 0),
    ):
        if len(content.get(name, ())) != number:  # Lightning would go on without the state
            raise UserError(f"{path} does not fit this run: its {name} are not {number} in number")


def was_raised_by_restoring(error: BaseException) -> bool:
    """Whether an error was raised while Lightning restored a checkpoint, by its traceback.

    The same module of Lightning also writes checkpoints; the progress of the epochs is first used
    in its loop.
    """
    return any(
        (
            frame.filename == checkpoint_connector.__file__
            and frame.name.startswith(("resume", "restore", "_restore"))
        )
        or (frame.filename == fit_loop.__file__ and frame.name == "done")
        for frame in traceback.extract_tb(error.__traceback__)
    )
