"""Help for settings that do not exist: the name used here, or the most similar one."""

import re
import shlex
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from tiny_mnist.config.loading import iter_nodes
from tiny_mnist.errors import UserError, program_name
from tiny_mnist.extras import require
from tiny_mnist.sweeps.job import resume_override

TRANSLATIONS = {
    "ckpt_path": "use resume=RUN_FOLDER",
    "checkpoint": "use resume=RUN_FOLDER",
    "epochs": "use trainer.max_epochs=…",
    "max_epochs": "use trainer.max_epochs=…",
    "batch_size": "use data.batch_size=…",
    "lr": "use optim.max_lr=…",
    "learning_rate": "use optim.max_lr=…",
    "optimizer": "use optim=…",
    "device": "use trainer.accelerator=…",
    "devices": "use trainer.devices=…",
    "n_trials": "use hydra.sweeper.n_trials=…",
    "n_jobs": "use hydra.sweeper.n_jobs=… or hydra.launcher.n_jobs=…",
}
"""Names that other programs use, which are no keys here, and what to use instead."""


def suggest(error: BaseException, configs: Path) -> str | None:
    """One line for an unknown key or group option; None for any other error.

    Args:
        error: an exception that Hydra raised.
        configs: the folder of the program's configurations.
    """
    text = str(error)
    if isinstance(error, OverrideParseException) and error.override.startswith("resume="):
        path = error.override.removeprefix("resume=").strip("'\"")
        return f"write the folder with quotes: {shlex.quote(resume_override(Path(path)))}"
    if unknown := re.match(r"Could not override '([^']+)'", text):
        return suggest_setting(unknown[1], configs)
    if missing := re.search(r"Could not (?:find|load) '([^']+)'(.*)", text, re.DOTALL):
        group, _, option = missing[1].rpartition("/")
        if group == "hydra/launcher" and option in ("joblib", "slurm", "submitit_slurm"):
            try:
                require("sweep", f"hydra/launcher={option}")
            except UserError as missing_extra:
                return str(missing_extra)
        listed = re.search(r"Available options in '[^']*':(.*)", missing[2], re.DOTALL)
        options = listed[1].split("Config search path")[0].split() if listed else []
        close = get_close_matches(option, options, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(options)}"
        return f"there is no {group}={option}; {hint}"
    return None


def suggest_setting(key: str, configs: Path) -> str:
    """One line for a key that is unknown, or was given a mapping with keys that are."""
    for name in (key, key.partition(".")[0]):
        if name in TRANSLATIONS:
            return f"there is no setting {key}: {TRANSLATIONS[name]}"
    known = known_keys(configs)
    if key in known:  # a mapping that was given keys which it does not have
        if key in ("callbacks", "logger"):
            return (
                f"{key} is a group whose nodes are mappings with _target_; add one with "
                f"'+{key}.NAME={{_target_: CLASS}}'"
            )
        return f"{key} has no such keys; add one with +{key}.NAME=VALUE"
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"{program_name()} --help lists all"
    return f"there is no setting {key}; {hint}"


def known_keys(configs: Path) -> list[str]:
    """All keys of the default configuration, and the names of the groups."""
    with initialize_config_dir(str(configs), version_base="1.3"):
        config = OmegaConf.to_container(compose("train"))
    groups = [path.name for path in configs.iterdir() if path.is_dir()]
    return [*(key for key, _ in iter_nodes(config) if key and not key[-1].isdigit()), *groups]
