"""Provides MNIST in the folders that torchvision expects: `python -m benchmarks.prepare FOLDER`.

It is a separate program so that `benchmarks.original` does not import this project.
"""

import sys
from pathlib import Path

from tiny_mnist.data import MNIST, download


def link_mnist(folder: Path) -> None:
    """Download MNIST if it is missing, verify it, and link its files into `folder`/MNIST/raw."""
    root = download.default_root().resolve()
    download.load_dataset(root)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in MNIST.files:
        (raw / file.name).symlink_to(root / file.name)


if __name__ == "__main__":
    link_mnist(Path(sys.argv[1]))
