"""Where a run comes from: commit, device and a hash of its weights."""

import hashlib
import platform
import subprocess
from pathlib import Path

import torch
from torch import nn

from tiny_mnist.errors import UserError, printable
from tiny_mnist.models.tiny_cnn import parameter_count
from tiny_mnist.runs.folder import RunFolder


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers, for bit-exact comparison."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, torch.Tensor):  # not so the extra state that a module may have
            digest.update(name.encode())
            # As bytes: NumPy does not know each of PyTorch's types.
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """The model name of a GPU or CPU, or the machine type where the system does not tell it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def git_commit() -> str | None:
    """The commit of this source tree, with `-dirty` when it has changes.

    None outside this project's own repository, also where the package is installed below another.
    """
    file = Path(__file__).resolve()
    place = file.relative_to(file.parents[3]).as_posix()
    if run_git("ls-files", "--full-name", "--error-unmatch", file.name) != place:
        return None
    return run_git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def run_git(*arguments: str) -> str | None:
    """Output of a git command in the folder of this file; None when it fails or git is absent."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def collect_provenance(run: RunFolder, network: nn.Module) -> dict[str, str | int | float]:
    """Where a network comes from, in plain values, for the metadata of files made from it.

    Seed, epochs, commit and settings are taken from `summary.json`, when it is about these weights.

    Raises:
        UserError: there is a summary, but not of a run.
    """
    sha256 = weights_sha256(network)
    known: dict[str, str | int | float] = {"run": printable(run.path.resolve().name)}
    if run.summary.exists():
        summary = run.read_summary()
        settings = summary.get("settings")
        if "weights_sha256" not in summary or not isinstance(settings, dict):
            raise UserError(f"{run.summary} is not the summary of a run")
        if summary["weights_sha256"] == sha256:
            recipe = " ".join(f"{name}={value}" for name, value in settings.items())
            known["recipe"] = printable(recipe)
            for name in ("seed", "epochs", "commit"):
                value = summary.get(name)
                if isinstance(value, str | int | float):
                    known[name] = printable(value) if isinstance(value, str) else value
    return {**known, "parameters": parameter_count(network), "weights_sha256": sha256}
