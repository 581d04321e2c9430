"""Where a run comes from: commit, device and a hash of its weights."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path

import torch
from torch import nn

from tiny_mnist.errors import UserError
from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import RunFolder


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers, for bit-exact comparison."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """The model of a GPU or CPU, as far as the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str | None:
    """The commit of this source tree, marked when it has changes; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def provenance(run: RunFolder, network: nn.Module) -> dict[str, str | int | float]:
    """Whose network this is, in plain values: for the metadata of what is made of it.

    What `summary.json` says of the run that made it is left out when its weights are others.

    Raises:
        UserError: there is a summary, but not of a run.
    """
    sha256 = weights_sha256(network)
    known: dict[str, str | int | float] = {"run": run.path.resolve().name}
    if run.summary.exists():
        try:
            summary = json.loads(run.summary.read_text())
            if summary["weights_sha256"] == sha256:
                settings = " ".join(f"{k}={v}" for k, v in summary["settings"].items())
                told = {key: summary.get(key) for key in ("seed", "epochs", "commit")}
                known |= {
                    "recipe": settings,
                    **{k: v for k, v in told.items() if v is not None},
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{run.summary} is not the summary of a run: {error!r}") from error
    return {**known, "parameters": parameter_count(network), "weights_sha256": sha256}
