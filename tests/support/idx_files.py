"""Small IDX files: bright stripes, one position a class."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array of unsigned bytes in IDX format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def striped(labels: NDArray[np.uint8], side: int = 28) -> NDArray[np.uint8]:
    """Noise with a bright row whose place tells the class."""
    images = np.random.default_rng(0).integers(0, 64, (len(labels), side, side), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 + 5 * int(label)] = 255
    return images


def write_idx_folder(
    folder: Path, *, classes: int = 3, train: int = 300, test: int = 60, packed: bool = False
) -> Path:
    """Write four files of that many images, all classes equally often."""
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % classes).astype(np.uint8)
        for name, content in (
            (f"{split}-images-idx3-ubyte", striped(labels)),
            (f"{split}-labels-idx1-ubyte", labels),
        ):
            if packed:
                (folder / f"stripes-{name}.gz").write_bytes(gzip.compress(idx_bytes(content)))
            else:
                (folder / name).write_bytes(idx_bytes(content))
    return folder
