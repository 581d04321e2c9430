"""Rebuild the trained network of a run from its checkpoint."""

from pathlib import Path

from tiny_mnist.config import schema
from tiny_mnist.errors import UserError
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder


def load_network(run: RunFolder | Path, trust: bool = False) -> TinyCNN:
    """Rebuild the trained network, in evaluation mode, from the last checkpoint of a run.

    Args:
        run: the run folder.
        trust: whether classes outside this project may be built.

    Raises:
        UserError: no checkpoint, a damaged one, or one of another architecture.
    """
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    if not run.path.is_dir():
        raise UserError(f"{run.path} is no run folder, such as runs/2026-…")
    checkpoint = read_checkpoint(run.last_checkpoint)
    try:
        model = schema.Model.model_validate(checkpoint["hyper_parameters"]["model"])
        network = TinyCNN(width=model.width)
        prefix = "network."
        network.load_state_dict(
            {
                name.removeprefix(prefix): tensor
                for name, tensor in checkpoint["state_dict"].items()
                if name.startswith(prefix)
            }
        )
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run.last_checkpoint} does not hold a network of this project: {reason}"
        ) from error
    return network.eval()
