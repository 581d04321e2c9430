"""Runs a program as if some modules were not installed.

python without_modules.py cv2,onnxruntime -m tiny_mnist.cli predict photo.jpg
python without_modules.py optuna train.py debug=batch
"""

import runpy
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType


class Hidden(MetaPathFinder):
    """Finder that reports modules as not installed.

    Args:
        names: top-level names of the modules.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> None:
        """Raise what Python raises for a module that is not there, or leave it to other finders."""
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    _, names, *program = sys.argv
    sys.meta_path.insert(0, Hidden(names.split(",")))
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")
