"""Put the network of a finished run into the package, as `tiny-mnist predict` uses it.

python -m research.ship_pretrained RUN
"""

import argparse
import sys
from pathlib import Path

from tiny_mnist.data import download
from tiny_mnist.errors import UserError
from tiny_mnist.export.export import FORMATS, Comparison, export
from tiny_mnist.inference import pretrained
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.metadata import collect_provenance
from tiny_mnist.runs.network import load_network
from tiny_mnist.system.atomic_files import write_json


def ship(run: RunFolder) -> None:
    """Write weights, graph and card; the first two are compared with PyTorch on the test images.

    Raises:
        UserError: the run cannot be read, or a file would answer otherwise.
    """
    network = load_network(run)
    mnist = download.load_dataset(download.default_root())
    origin = collect_provenance(run, network)
    export(network, pretrained.WEIGHTS, mnist, origin, FORMATS["safetensors"])
    check = export(network, pretrained.GRAPH, mnist, origin, FORMATS["onnx"])
    assert isinstance(check, Comparison)
    card = {**origin, "test_accuracy": check.accuracy, "test_images": len(mnist.test_labels)}
    write_json(pretrained.CARD, card)


def main() -> None:
    """Ship the run named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder")
    try:
        ship(RunFolder(parser.parse_args().run))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
