"""Which classes a configuration may name that was read from a folder.

A configuration that the user composes on the command line may name any class. One that was found in
a run folder may come from a stranger, and Hydra's `instantiate` calls whatever `_target_` names.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tiny_mnist.config.loading import iter_nodes
from tiny_mnist.errors import UserError, printable

OWN_CLASSES = frozenset(
    {
        "tiny_mnist.data.FashionMNISTDataModule",
        "tiny_mnist.data.IdxDataModule",
        "tiny_mnist.data.MNISTDataModule",
        "tiny_mnist.models.mlp.MLP",
        "tiny_mnist.models.tiny_cnn.TinyCNN",
        "tiny_mnist.sweeps.pruning.PruningCallback",
        "tiny_mnist.training.callbacks.contention.ContentionWarning",
        "tiny_mnist.training.callbacks.early_stopping.EarlyStopping",
        "tiny_mnist.training.callbacks.ema.EMAWeightAveraging",
        "tiny_mnist.training.callbacks.epoch_line.EpochLine",
        "tiny_mnist.training.callbacks.progress_bar.ProgressBar",
        "tiny_mnist.training.callbacks.tensorboard.CurveLogger",
    }
)
# One capitalised name directly in a public namespace: `instantiate` follows any dotted path, also
# through the modules that a module imports, as in torch.optim.adagrad.torch.hub.load.
LIBRARY_CLASSES = re.compile(
    r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*"
    r"|(lightning\.pytorch|pytorch_lightning)\.(Trainer|(callbacks|loggers)\.[A-Z]\w*)"
)
IN_GROUP = {
    "logger": re.compile(r"(lightning\.pytorch|pytorch_lightning)\.loggers\.\w+|.*\.CurveLogger"),
    "callbacks": re.compile(r"(lightning\.pytorch|pytorch_lightning|tiny_mnist.*)\.callbacks\..+"),
}
"""Classes of loggers and callbacks, wherever they are named."""
LOGGER_KEYS = frozenset(
    {
        "experiment_name", "flush_logs_every_n_steps", "group", "name", "offline", "project",
        "run_name", "synchronous", "version",
    }
)  # fmt: skip
"""Arguments of loggers that name no server, and no folder if they are plain words."""
PATH_KEY = re.compile(r"dir|path|folder|file(?!name)")
"""In the names of arguments of callbacks, which are relative to the current folder."""
REFERENCE = re.compile(r"\$\{[\w.]+\}")  # of another key: ${seed}, ${optim.max_lr}
CONTAINERS = (Mapping, list, tuple)
MAX_REFERRED = 1000  # characters of a value that is referred to


def read_trust_flag(config: DictConfig) -> bool:
    """The key `trust` of a composed configuration; false where there is none.

    Raises:
        UserError: it is no truth value: Hydra takes `no` and `off` as words.
    """
    trust = config.get("trust", False)
    if not isinstance(trust, bool):
        raise UserError(f"trust={printable(trust)}: say trust=true or trust=false")
    return trust


def needs_trust(config: DictConfig) -> bool:
    """Whether `check_trusted` refuses a configuration, so that resuming it takes `trust=true`."""
    try:
        check_trusted(config, Path())
    except UserError:
        return True
    return False


def check_trusted(config: DictConfig | Mapping[str, Any], source: Path) -> None:
    """Check that a configuration read from a folder names well-known classes only.

    Args:
        config: the configuration, or a part of it, before its interpolations are resolved.
        source: the file that it was read from, for the message.

    Raises:
        UserError: a `_target_` other than the classes of this project, of `torch.optim`, and
            Lightning's Trainer, callbacks and loggers; an argument of a logger or callback that may
            name a server, where credentials would be sent, or a file or folder; an interpolation
            other than a reference to another key, such as `${oc.env:HOME}`; or a reference to
            anything but a short value without references, as a few could stand for gigabytes.
    """
    plain = OmegaConf.to_container(config) if isinstance(config, DictConfig) else config
    for key, value in iter_nodes(plain):
        if key.rpartition(".")[2] == "_target_" and not is_trusted(value):
            raise UserError(
                f"{source} names the class {printable(value)[:200]}, which is not among those that "
                "a saved configuration may name; if you trust that folder, say trust=true "
                "(tiny-mnist: --trust)"
            )
        if isinstance(value, CONTAINERS):
            continue
        if "${" in REFERENCE.sub("", f"{key} {value}"):
            raise UserError(
                f"{source} holds the interpolation {key}={str(value)[:200]}; a saved configuration "
                "may refer to its own keys only"
            )
        for reference in REFERENCE.findall(str(value)):
            if not is_short_value(lookup_reference(plain, reference[2:-1])):
                raise UserError(
                    f"{source} holds the reference {key}={value[:200]}; a saved configuration may "
                    "refer to short values without references of their own only; if you trust "
                    "that folder, say trust=true (tiny-mnist: --trust)"
                )
    for key, node in iter_nodes(plain):
        if not isinstance(node, Mapping):
            continue
        for group, is_safe in (("logger", is_safe_for_logger), ("callbacks", is_safe_for_callback)):
            target = str(node.get("_target_"))
            if not (key.startswith(f"{group}.") or IN_GROUP[group].fullmatch(target)):
                continue
            if unsafe := [name for name, value in node.items() if not is_safe(str(name), value)]:
                value = printable(node[unsafe[0]])[:200]
                raise UserError(
                    f"{source} sets {key}.{unsafe[0]}={value}, which may name a server, a file or "
                    "a folder; if you trust that folder, say trust=true (tiny-mnist: --trust)"
                )


def lookup_reference(node: Any, reference: str) -> Any:
    """The unresolved value that a reference such as `optim.max_lr` points to.

    Args:
        node: the configuration.
        reference: the text between `${` and `}`.

    Returns:
        None where the configuration has no such key. The reference itself, in `${…}`, if it is
        relative, such as `.max_lr`, or leads through a key whose value is a reference: neither is
        followed.
    """
    for name in reference.split("."):
        if isinstance(node, Mapping):
            node = {str(key): value for key, value in node.items()}.get(name)
        elif isinstance(node, list | tuple):
            node = node[int(name)] if name.isdecimal() and int(name) < len(node) else None
        elif node is not None:
            return f"${{{reference}}}"
    return f"${{{reference}}}" if reference.startswith(".") else node


def is_short_value(value: Any) -> bool:
    """Whether a value, as it is written, is no container, holds no reference and is short."""
    if isinstance(value, CONTAINERS):
        return False
    return "${" not in str(value) and len(str(value)) <= MAX_REFERRED


def is_safe_for_logger(name: str, value: Any) -> bool:
    """Whether a stranger's configuration may give a logger this argument."""
    return name == "_target_" or value is None or (name in LOGGER_KEYS and is_plain(value))


def is_safe_for_callback(name: str, value: Any) -> bool:
    """Whether a stranger's configuration may give a callback this argument."""
    if name == "_target_" or value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, Mapping):
        return all(is_safe_for_callback(str(key), part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(is_safe_for_callback(name, part) for part in value)
    return isinstance(value, str) and is_plain(value) and not PATH_KEY.search(name)


def is_plain(value: Any) -> bool:
    """Whether a value is a plain word or number, which is no path and no address."""
    return bool(re.fullmatch(r"[\w. -]*", str(value))) and ".." not in str(value)


def is_trusted(target: Any) -> bool:
    """Whether `instantiate` may call this target in a stranger's configuration."""
    return isinstance(target, str) and bool(
        target in OWN_CLASSES or LIBRARY_CLASSES.fullmatch(target)
    )
