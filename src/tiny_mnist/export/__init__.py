"""A trained network as one file for other programs: `export.export.export` writes it."""

from typing import TYPE_CHECKING

from tiny_mnist.lazy import import_on_use

if TYPE_CHECKING:
    from tiny_mnist.export.export import FORMATS, Comparison, Unchecked
    from tiny_mnist.export.safetensors_format import load_tiny_cnn

__all__ = ["FORMATS", "Comparison", "Unchecked", "load_tiny_cnn"]

__getattr__ = import_on_use(
    __name__,
    {
        "Comparison": "export",
        "FORMATS": "export",
        "Unchecked": "export",
        "load_tiny_cnn": "safetensors_format",
    },
)
