"""Resolve, compare and load configurations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tiny_mnist.errors import UserError


def resolve_config(config: DictConfig) -> dict[str, Any]:
    """The configuration of the run as plain, resolved data, without Hydra's own node."""
    names = [str(name) for name in config if name != "hydra"]
    resolved = OmegaConf.to_container(OmegaConf.masked_copy(config, names), resolve=True)
    assert isinstance(resolved, dict)
    return {str(name): value for name, value in resolved.items()}


def differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """The keys, as on the command line, whose values differ between two configurations."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from differences(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
    elif one != other:
        yield key


def load_config(path: Path) -> DictConfig:
    """Read a saved configuration, which may come from a stranger: `validate` it before use.

    Raises:
        UserError: there is none, or it is something else.
    """
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise UserError(f"no run to resume: there is no {path}") from None
    except OSError:
        raise
    except Exception as error:  # YAML's, OmegaConf's and Unicode's
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read as a configuration: {reason}") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{path} cannot be read as a configuration: it is a list")
    return config
