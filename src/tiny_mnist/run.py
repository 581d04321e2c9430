"""The run folder: what a run leaves behind, and how to open it again."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from tiny_mnist.checkpoint import read_checkpoint
from tiny_mnist.errors import UserError
from tiny_mnist.files import whole_file
from tiny_mnist.network import TinyCNN

Row = dict[str, float | int | None]
"""One epoch's metrics by column name; None where nothing was measured."""


class RunFolder:
    """The files of one run, by name.

    Args:
        path: the folder; created with the first file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.metrics = self.path / "metrics.csv"
        self.summary = self.path / "summary.json"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions_visualization.png"
        self.confusion = self.path / "confusion_matrix.png"

    @property
    def holds_run(self) -> bool:
        """Whether a run has already left results here, finished or not."""
        return any(p.exists() for p in (self.last_checkpoint, self.metrics, self.summary))

    def write_metrics(self, columns: Iterable[str], rows: Iterable[Row]) -> None:
        """Write `metrics.csv`, one row an epoch, whole each time: a kill leaves no half row."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        with whole_file(self.metrics) as file:
            file.write(text.getvalue().encode())

    def read_metrics(self) -> list[Row]:
        """Read `metrics.csv` back.

        Raises:
            UserError: there is none, or it is not a table of numbers.
        """
        try:
            with self.metrics.open(newline="") as file:
                return [
                    {
                        key: (int(cell) if key == "epoch" else float(cell)) if cell else None
                        for key, cell in row.items()
                    }
                    for row in csv.DictReader(file)
                ]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.metrics} cannot be read: {error}") from error

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, the last file of a run: where it is, the run is finished."""
        with whole_file(self.summary) as file:
            file.write((json.dumps(summary, indent=2) + "\n").encode())

    def load_network(self) -> TinyCNN:
        """Rebuild the trained network, in evaluation mode, from the checkpoint alone.

        Raises:
            UserError: no checkpoint, a damaged one, or one of another architecture.
        """
        checkpoint = read_checkpoint(self.last_checkpoint)
        try:
            model = checkpoint["hyper_parameters"]["model"]
            network = TinyCNN(width=model["width"])
            prefix = "network."
            network.load_state_dict(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in checkpoint["state_dict"].items()
                    if name.startswith(prefix)
                }
            )
        except (KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self.last_checkpoint} does not hold a network of this project: {reason}"
            ) from error
        return network.eval()


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers, for bit-exact comparison."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
