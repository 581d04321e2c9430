"""Runs a program as if some modules were not installed.

python without_modules.py cv2,onnxruntime tiny_mnist.cli:app predict photo.jpg
python without_modules.py optuna train.py debug=batch
"""

import runpy
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any


def hide(names: list[str]) -> None:
    """Let Python find no module of these top-level names."""
    find_spec = PathFinder.find_spec

    def find_other_spec(name: str, *arguments: Any) -> Any:
        return None if name.partition(".")[0] in names else find_spec(name, *arguments)

    PathFinder.find_spec = find_other_spec  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    _, hidden, *program = sys.argv
    hide(hidden.split(","))
    sys.argv = program
    module, _, function = program[0].partition(":")
    if function:
        getattr(import_module(module), function)()
    else:
        runpy.run_path(program[0], run_name="__main__")
