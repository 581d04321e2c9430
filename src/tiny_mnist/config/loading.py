"""Resolve, compare and load configurations."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.system.plain_files import check_regular_file

LAUNCH_KEYS = ("resume", "trust")
"""Keys of `configs/train.yaml` that say how the program is started, and are no part of a run."""
MAX_BYTES = 1 << 20  # of a saved configuration, which has about two thousand


def run_settings(config: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's node and without the keys of the launch."""
    names = [str(name) for name in config if name != "hydra" and name not in LAUNCH_KEYS]
    return OmegaConf.masked_copy(config, names)


def resolve_config(config: DictConfig) -> dict[str, Any]:
    """The configuration of the run as plain data, with all interpolations resolved."""
    return plain_config(config, resolve=True)


def plain_config(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """The configuration of the run as plain data, by default with interpolations as written."""
    plain = OmegaConf.to_container(run_settings(config), resolve=resolve)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


def iter_nodes(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a nested configuration and all nodes below it, with dotted keys; its own is empty."""
    yield key, node
    if isinstance(node, Mapping):
        children: Any = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        return
    for name, value in children:
        yield from iter_nodes(value, f"{key}.{name}".lstrip("."))


def differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Yield the keys, as on the command line, whose values differ between two configurations."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from differences(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
    elif one != other:
        yield key


def load_config(path: Path) -> DictConfig:
    """Read a saved configuration. Pass it to `check_trusted` and `validate` before use.

    Raises:
        UserError: the file is absent, special or too large, or is not a configuration.
    """
    try:
        check_regular_file(path, MAX_BYTES)
        text = path.read_text(encoding="utf-8")
        # A few lines of nested aliases stand for gigabytes; no run writes any.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it uses YAML aliases")
        config = OmegaConf.create(text)
    except FileNotFoundError:
        raise UserError(f"there is no configuration {path}") from None
    except (OSError, UserError):
        raise
    except Exception as error:  # of YAML, OmegaConf and Unicode; RecursionError
        raise UserError(
            f"{path} cannot be read as a configuration: {one_line(error)[:200]}"
        ) from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{path} cannot be read as a configuration: it is a list")
    return config
