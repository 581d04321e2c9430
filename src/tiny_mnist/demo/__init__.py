"""A page in the browser to draw digits on."""

from typing import TYPE_CHECKING

from tiny_mnist.lazy import import_on_use

if TYPE_CHECKING:
    from tiny_mnist.demo.app import serve

__all__ = ["serve"]

__getattr__ = import_on_use(__name__, {"serve": "app"})
