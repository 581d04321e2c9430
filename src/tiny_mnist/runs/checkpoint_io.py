"""Checkpoints: written whole or not at all, read as plain data only."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from tiny_mnist.errors import UserError
from tiny_mnist.system.atomic_files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, moved into place only once they are on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the one of that name before it is kept as `previous.ckpt`."""
        content = io.BytesIO()  # PyTorch hides what is wrong with a file; the file itself says it
        torch.save(checkpoint, content)
        with atomic_write(Path(path), previous=previous(Path(path))) as file:
            file.write(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with `read_checkpoint`."""
        return read_checkpoint(Path(path))


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name("previous.ckpt")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU as tensors and plain values; code in it is never run.

    Raises:
        UserError: absent, damaged, not a checkpoint, or holding more than plain data.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch does not look at the checksums in it
            if damaged := archive.testzip():
                raise UserError(f"{path} is damaged: the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except UserError:
        raise
    except Exception as error:  # torch.load raises many kinds for what is not a checkpoint
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint of plain data: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path} is not a checkpoint of a training run: it has no state_dict")
    return content
