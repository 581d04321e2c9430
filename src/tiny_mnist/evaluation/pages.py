"""Parts of HTML pages: templates, and images as `data:` URLs."""

import base64
import io
from collections.abc import Callable
from typing import Any

from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch import Tensor


def jinja_environment(package: str, folder: str = "", **options: Any) -> Environment:
    """Jinja for the templates in a folder of a package.

    Values are escaped for HTML, and an unknown name is an error.

    Args:
        package: the name of the Python package.
        folder: the folder in the package.
        options: further arguments of Jinja's `Environment`.
    """
    defaults = {"autoescape": True, "undefined": StrictUndefined}
    return Environment(loader=PackageLoader(package, folder), **{**defaults, **options})


def png_url(image: UInt8[Tensor, "height width"]) -> str:
    """A grey image as PNG in a `data:` URL."""
    picture = Image.fromarray(image.numpy())
    return data_url("image/png", lambda file: picture.save(file, "PNG", optimize=True))


def data_url(kind: str, write: Callable[[io.BytesIO], object]) -> str:
    """A `data:` URL of what `write` writes into a file."""
    file = io.BytesIO()
    write(file)
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
