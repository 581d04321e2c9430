"""Put a trained network into the package: an ONNX file, and a card beside it."""

import hashlib
import io
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.onnx import export

from research.pictures.digits import font_files
from tiny_mnist.runs.metadata import git_commit
from tiny_mnist.system.atomic_files import atomic_write, write_json


def save_network(
    network: nn.Module,
    example: Tensor,
    axes: dict[str, dict[int, str]],
    out: Path,
    fonts: Path | None,
    card: dict[str, Any],
) -> None:
    """Write both files.

    Args:
        network: from one tensor to log-probabilities.
        example: an input.
        axes: names of the axes of any size, by the names of the input and of `log_probs`.
        out: the ONNX file; the card has its name and the suffix `.json`.
        fonts: the folder of fonts that the network was trained on.
        card: what else the card says.
    """
    file = io.BytesIO()
    export(
        network.eval(),
        (example,),
        file,  # type: ignore[arg-type]
        input_names=[name for name in axes if name != "log_probs"],
        output_names=["log_probs"],
        dynamic_axes=axes,
        dynamo=False,
    )
    origin = {
        "fonts": [path.name for path in font_files(fonts)] if fonts else [],
        "commit": git_commit(),
        "sha256": hashlib.sha256(file.getvalue()).hexdigest(),
    }
    with atomic_write(out) as target:
        target.write(file.getvalue())
    write_json(out.with_suffix(".json"), card | origin)
