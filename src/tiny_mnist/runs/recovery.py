"""Put a run folder back to its newest valid checkpoint, from which training can go on."""

import logging
import os
from pathlib import Path
from typing import Any

from tiny_mnist.errors import UserError
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.atomic_files import remove_unfinished

log = logging.getLogger(__name__)


def roll_back(run: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """Put the folder back to its newest whole checkpoint, as if nothing had followed.

    Returns:
        That checkpoint and its content; None when there is none yet.

    Raises:
        UserError: none of those that there are can be read.
    """
    remove_unfinished(run.path)
    found = latest_valid_checkpoint(run)
    if found is None:
        run.metrics.unlink(missing_ok=True)
        truncate_event_files(run, {})
        return None
    path, content = found
    last = run.last_checkpoint
    if path != last and last.exists():
        # Out of the way: else the next checkpoint would make it the previous one.
        last.replace(last.with_name(f"{last.name}.damaged"))
        log.warning("%s is damaged; going on from the one before it", last)
    truncate_event_files(run, content.get("curves", {}))
    return path, content


def latest_valid_checkpoint(run: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint and its content, or those of the one before it if it is damaged.

    The answer is the same while the first of several processes moves a damaged one away.

    Raises:
        UserError: none of those that there are can be read.
    """
    fault = None
    for path in (run.last_checkpoint, run.previous_checkpoint):
        try:
            if path.exists():
                return path, read_checkpoint(path)
        except UserError as error:
            fault = fault or error
    if fault:
        raise fault
    return None


def event_file_sizes(run: RunFolder) -> dict[str, int]:
    """The TensorBoard files and their length in bytes."""
    files = run.path.rglob("events.out.tfevents.*")
    return {path.relative_to(run.path).as_posix(): path.stat().st_size for path in files}


def truncate_event_files(run: RunFolder, sizes: dict[str, int]) -> None:
    """Remove from the TensorBoard files what came after they had these sizes."""
    for name, now in event_file_sizes(run).items():
        size = sizes.get(name, 0)
        if not size:
            (run.path / name).unlink()
        elif size < now:
            os.truncate(run.path / name, size)
