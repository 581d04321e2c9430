"""Which classes a configuration read from a folder may name."""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tiny_mnist.errors import UserError

TRUSTED = re.compile(
    r"(tiny_mnist\.[\w.]+|torch\.optim\.(lr_scheduler\.)?[A-Z]\w*|lightning\.pytorch\.Trainer"
    r"|lightning\.pytorch\.(callbacks|loggers)\.[A-Z]\w*)"
)


def check_trusted(config: DictConfig, source: Path) -> None:
    """Check that a configuration read from a folder names trusted classes only.

    Raises:
        UserError: it names another class.
    """

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            target = node.get("_target_")
            if target is not None and not TRUSTED.fullmatch(str(target)):
                raise UserError(f"{source} names {target}; trust=true accepts it")
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)
        elif isinstance(node, str) and re.search(r"\$\{[^}]*:", node):
            raise UserError(f"{source} holds the resolver {node}; trust=true accepts it")

    visit(OmegaConf.to_container(config, resolve=False))
