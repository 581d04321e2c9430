"""Put a run folder back to its newest valid checkpoint, from which training can go on."""

import logging
from pathlib import Path
from typing import Any

from tiny_mnist.errors import UserError
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import EVENT_PREFIX, EVENT_SUFFIX, RunFolder
from tiny_mnist.system.atomic_files import remove_unfinished
from tiny_mnist.system.plain_files import truncate_file

log = logging.getLogger(__name__)


def roll_back(run: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """Put the folder back to its newest valid checkpoint, removing what was written after it.

    Only files that this project writes are touched, and none below other folders or behind links.

    Returns:
        The path of that checkpoint and its content; None when there is none yet.

    Raises:
        UserError: there are checkpoints, and none can be read; or a file here is a link.
    """
    run.check_no_links()
    remove_unfinished(run.written_files)
    found = latest_valid_checkpoint(run)
    if found is None:
        run.metrics.unlink(missing_ok=True)
        truncate_event_files(run, {})
        return None
    path, content = found
    last = run.last_checkpoint
    if path != last and last.exists():
        # Renamed, because the next checkpoint would otherwise replace the valid previous one by it.
        last.replace(last.with_name(f"{last.name}.damaged"))
        log.warning("%s is damaged; going on from the one before it", last)
    truncate_event_files(run, content.get("curves", {}))
    return path, content


def latest_valid_checkpoint(run: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint and its content, or those of the previous one if the last is damaged.

    Other processes of a distributed run get the same answer while the first one moves a damaged
    checkpoint away.

    Raises:
        UserError: there are checkpoints, and none can be read.
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


def event_files(run: RunFolder) -> list[Path]:
    """The TensorBoard files that this run wrote; no links."""
    return [
        path
        for folder in run.event_folders
        for path in sorted(folder.glob(f"{EVENT_PREFIX}*{EVENT_SUFFIX}"))
        if path.is_file() and not path.is_symlink()
    ]


def event_file_sizes(run: RunFolder) -> dict[str, int]:
    """Sizes in bytes of the TensorBoard files of this run, by their paths in the run folder."""
    return {path.relative_to(run.path).as_posix(): path.stat().st_size for path in event_files(run)}


def truncate_event_files(run: RunFolder, sizes: dict[str, int]) -> None:
    """Cut the TensorBoard files of this run to the sizes that they had at a checkpoint.

    Args:
        run: the run folder.
        sizes: the sizes that `event_file_sizes` returned; files without one are removed.
    """
    for path in event_files(run):
        if size := sizes.get(path.relative_to(run.path).as_posix(), 0):
            truncate_file(path, size)
        else:
            path.unlink()
