"""Run folders: paths, checkpoints and metadata. What needs torch is imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tiny_mnist.runs.folder import RunFolder

if TYPE_CHECKING:
    from tiny_mnist.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint
    from tiny_mnist.runs.images import check_reads_digits, load_images
    from tiny_mnist.runs.metadata import commit, device_name, provenance, weights_sha256
    from tiny_mnist.runs.network import load_network
    from tiny_mnist.runs.recovery import latest_valid_checkpoint, roll_back

__all__ = [
    "AtomicCheckpointIO",
    "RunFolder",
    "check_reads_digits",
    "commit",
    "device_name",
    "latest_valid_checkpoint",
    "load_images",
    "load_network",
    "provenance",
    "read_checkpoint",
    "roll_back",
    "weights_sha256",
]

_MODULES = {
    "AtomicCheckpointIO": "checkpoint_io",
    "read_checkpoint": "checkpoint_io",
    "check_reads_digits": "images",
    "load_images": "images",
    "commit": "metadata",
    "device_name": "metadata",
    "provenance": "metadata",
    "weights_sha256": "metadata",
    "load_network": "network",
    "latest_valid_checkpoint": "recovery",
    "roll_back": "recovery",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"tiny_mnist.runs.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
