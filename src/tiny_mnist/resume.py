"""Going on with a run: which one, with which configuration, and what is said about it.

Nothing of a saved `hydra.yaml` is used: a stranger's could make its logging call anything.
"""

import json
import logging
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tiny_mnist.config.loading import load_config, resolve_config
from tiny_mnist.config.schema import RESUMABLE_KEYS, validate
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder, latest_unfinished_run
from tiny_mnist.system.processes import env_world_size, is_rank_zero

LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"  # Hydra's own


def prepare(arguments: list[str]) -> tuple[DictConfig, Path] | None:
    """Read `resume=RUN_FOLDER` or `resume=latest`, and safe overrides, from the command line.

    Returns:
        The configuration and the folder of the run to go on with; None when it is finished.

    Raises:
        UserError: there is nothing to resume, or an override is not safe.
    """
    overrides = [argument for argument in arguments if not argument.startswith("resume=")]
    for override in overrides:
        if override.partition("=")[0] not in RESUMABLE_KEYS or "=" not in override:
            raise UserError(
                f"{override}: a resumed run takes no setting but {', '.join(RESUMABLE_KEYS)}"
            )
    name, *others = (a.removeprefix("resume=") for a in arguments if a not in overrides)
    if others or not name:
        raise UserError("resume= takes the folder of one run, or the word latest")
    if name == "latest" and env_world_size() > 1:
        raise UserError("resume=latest may mean another run to each process; name the folder")
    run = (
        latest_unfinished_run(Path("runs")) if name == "latest" else RunFolder(folder_of_run(name))
    )
    # Lightning starts its other processes with these arguments; none may choose another run.
    sys.argv[1:] = [f"resume={run.path}", *overrides]

    saved = load_config(run.configuration)
    config = OmegaConf.unsafe_merge(saved.copy(), OmegaConf.from_dotlist(overrides))
    assert isinstance(config, DictConfig)
    validate(resolve_config(saved))
    validate(resolve_config(config))
    before, after = saved.trainer.max_epochs, config.trainer.max_epochs
    if after < before:
        raise UserError(f"trainer.max_epochs={after}: the run was begun for {before} epochs")
    if run.summary.exists() and after == before:
        if (accuracy := result(run)) is not None:
            print(f"{run.path} is finished: test accuracy {accuracy:.2f} %")
            return None
        print(f"{run.summary} is damaged: it is written again")
    if after > before and is_rank_zero():
        print(prolonged(run, before, after))
    return config, run.path


def folder_of_run(name: str) -> Path:
    """The folder that a person means.

    Raises:
        UserError: it is a file.
    """
    path = Path(name).expanduser()
    if path.exists() and not path.is_dir():
        raise UserError(f"resume={name} is a file; name the folder of a run, such as runs/2026-…")
    return path


def result(run: RunFolder) -> float | None:
    """The test accuracy of a finished run, in percent; None when its summary is damaged."""
    try:
        return float(json.loads(run.summary.read_text())["test_accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prolonged(run: RunFolder, before: int, after: int) -> str:
    """What becomes of the schedule in a run that goes on for longer than was planned."""
    if run.newest_checkpoint is None:
        return f"Nothing is trained yet: the learning rate's cycle will span all {after} epochs"
    epochs = f"epoch {after}" if after == before + 1 else f"epochs {before + 1} to {after}"
    return f"The learning rate's cycle ends as planned; {epochs} keep its final rate"


def write_log(path: Path) -> None:
    """Append to a log file, and to no other from now on; show warnings, as Hydra is told to."""
    console, file = logging.StreamHandler(sys.stdout), logging.FileHandler(path)
    console.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=[console, file], force=True)
