"""Makes sure that MNIST is here, in the folders that torchvision expects.

A program of its own, `python -m benchmarks.prepare FOLDER`, so that the seed's way need not load
this project.
"""

import sys
from pathlib import Path

from tiny_mnist.data import MNIST, download


def link_mnist(folder: Path) -> None:
    """Fetch and verify MNIST if need be; link its files into `folder`/MNIST/raw."""
    root = download.default_root().resolve()
    download.load(root)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in MNIST.files:
        (raw / file.name).symlink_to(root / file.name)


if __name__ == "__main__":
    link_mnist(Path(sys.argv[1]))
