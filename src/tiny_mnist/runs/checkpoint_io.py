"""How checkpoint files are written and read: atomically, and as plain data only.

`tiny_mnist.training.callbacks.checkpoint` determines when they are saved.
"""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from tiny_mnist.errors import UserError, printable
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.atomic_files import atomic_write
from tiny_mnist.system.plain_files import check_regular_file

MAX_BYTES = 4 << 30  # of a checkpoint; the widest network allowed, with Adam's state, has 0.6 GiB
MAX_PICKLE_BYTES = 64 << 20  # of everything in it but the numbers of its tensors
COUNTERS = ("epoch", "global_step")
SCHEDULER_COUNTERS = ("_step_count", "last_epoch")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, moved into place only once they are on the disk.

    Args:
        run: the run folder. When its last checkpoint is replaced, the former one is kept as the
            previous checkpoint. The folder of both must exist: a run whose folder was removed must
            not continue. For checkpoints at other paths, which callbacks of the user save, missing
            folders are created.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        # Into memory first: torch.save hides the system's reason when a file cannot be written.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path, previous = Path(path), None
        if path.absolute() == self.run.last_checkpoint.absolute():
            previous = self.run.previous_checkpoint
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, previous) as file:
            file.write(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with `read_checkpoint`."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU as tensors and plain values; code in it is never run.

    Raises:
        UserError: absent, damaged, not a checkpoint, or holding more than plain data.
    """
    try:
        check_regular_file(path, MAX_BYTES)
        check_archive(path)
        with warnings.catch_warnings():
            # Sparse tensors are refused below in one line.
            warnings.filterwarnings("ignore", message="Validating sparse tensor invariants")
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
    try:
        check_values(content)
    except ValueError as error:
        raise UserError(f"{path} is not a checkpoint of a training run: {error}") from error
    return content


def check_archive(path: Path) -> None:
    """Check the sizes and checksums that a checkpoint, which is a zip archive, declares.

    PyTorch stores without compression, so the parts of an archive that it wrote are together no
    larger than the file; a zip bomb's are.

    Raises:
        UserError: a checksum is wrong, or the archive was not written by PyTorch.
        zipfile.BadZipFile: it is not a zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise UserError(f"{path} was not written by PyTorch: its parts are compressed")
        if sum(part.file_size for part in parts) > path.stat().st_size:
            raise UserError(f"{path} was not written by PyTorch: its parts exceed the file")
        pickles = (part.file_size for part in parts if part.filename.endswith(".pkl"))
        if sum(pickles) > MAX_PICKLE_BYTES:
            raise UserError(f"{path} holds more than {MAX_PICKLE_BYTES >> 20} MiB besides tensors")
        if damaged := archive.testzip():  # PyTorch does not verify the checksums
            raise UserError(f"{path} is damaged: the checksum of {printable(damaged)} is wrong")


def check_values(content: dict[str, Any]) -> None:
    """Check the types of the values in a checkpoint that are used outside of tensors.

    Raises:
        ValueError: one has another type than Lightning or this project writes.
    """
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError("its state_dict does not map names to tensors")
    for name in COUNTERS:
        if not is_count(content.get(name, 0)):
            raise ValueError(f"its {name} is not a count")
    sizes = content.get("curves", {})
    if not isinstance(sizes, dict) or not all(
        isinstance(name, str) and is_count(size) for name, size in sizes.items()
    ):
        raise ValueError("its curves do not map names to sizes")
    check_state(content)
    check_tensors(content)


def check_state(content: dict[str, Any]) -> None:
    """Check the types of the state from which training goes on; any part of it may be absent.

    Raises:
        ValueError: one has another type than Lightning, PyTorch or this project writes.
    """
    environment = content.get("environment", {})
    for name, value in (
        ("environment", environment),
        ("callbacks", content.get("callbacks", {})),
        ("loops", content.get("loops", {})),
        ("train_metrics", content.get("train_metrics", {})),
    ):
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"its {name} is not a mapping")
    if not isinstance(environment.get("packages") or {}, dict):
        raise ValueError("its environment does not map packages to versions")
    if not all(isinstance(state, dict) for state in content.get("callbacks", {}).values()):
        raise ValueError("its callbacks do not map names to mappings")
    if not all(isinstance(value, Tensor) for value in content.get("train_metrics", {}).values()):
        raise ValueError("its train_metrics do not map names to tensors")
    for name in ("optimizer_states", "lr_schedulers"):
        states = content.get(name, [])
        if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
            raise ValueError(f"its {name} are not a list of mappings")
    for state in content.get("lr_schedulers", []):
        for key in SCHEDULER_COUNTERS:
            if not is_count(state.get(key, 0)):
                raise ValueError(f"the {key} of its lr_schedulers is not a count")


def is_count(value: Any) -> bool:
    """Whether a value is an integer that a file size or step number can have."""
    return type(value) is int and 0 <= value < 1 << 63


def check_tensors(content: Any) -> None:
    """Check that every tensor is dense and stored in full.

    A sparse or expanded tensor takes a few bytes in the file and any number once it is copied.

    Raises:
        ValueError: one is not.
    """
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout is not torch.strided or value.is_quantized:
                raise ValueError("it holds a tensor that is not dense")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError("it holds a tensor that is larger than its stored numbers")
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value)
            if isinstance(value, dict):
                waiting.extend(value.values())
