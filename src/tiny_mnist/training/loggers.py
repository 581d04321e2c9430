"""The loggers of a run: built last, named in the run folder, and ended with the run."""

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from filelock import FileLock
from hydra.utils import get_class
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from tiny_mnist.errors import format_error
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.atomic_files import write_json
from tiny_mnist.system.plain_files import read_json_object
from tiny_mnist.training.builders import build
from tiny_mnist.training.summary import short_settings

IDENTIFIERS = ("id", "run_id")
"""Arguments by which W&B's and MLflow's loggers continue a run of theirs."""
SQLITE = "sqlite:///"
MLFLOW_STORE = f"{SQLITE}mlflow.db"  # in the current folder, where `mlflow ui` looks for it


@contextmanager
def open_loggers(
    config: Mapping[str, Any], run: RunFolder, trainer: pl.Trainer, resume: bool
) -> Iterator[None]:
    """Give a trainer the loggers of the group `logger`, and end their runs with the block.

    Args:
        config: the resolved configuration.
        run: the run folder, which this process has opened.
        trainer: the Trainer that gets the loggers.
        resume: whether to continue the runs of W&B and MLflow that this run began.

    Raises:
        UserError: a logger cannot be built or opened.
    """
    saved = read_json_object(run.logger_ids) if resume and run.logger_ids.exists() else {}
    nodes = {name: node for name, node in (config.get("logger") or {}).items() if node}
    loggers: dict[str, Logger] = {}
    try:
        for name, node in nodes.items():
            loggers[name] = build_logger(name, node, run, saved)
            trainer.loggers = [*loggers.values()]  # to be closed if the next one fails
        if trainer.is_global_zero:
            for name, logger in loggers.items():
                if name not in saved and not isinstance(logger, TensorBoardLogger):  # at the end
                    logger.log_hyperparams(short_settings(config))
            ids = {name: str(logger.version) for name, logger in loggers.items() if has_id(logger)}
            if ids != saved:
                write_json(run.logger_ids, ids)
        yield
    except BaseException:
        finish(trainer, exit_code=1)
        raise
    finish(trainer, exit_code=0)


def build_logger(
    name: str, node: Mapping[str, Any], run: RunFolder, saved: dict[str, Any]
) -> Logger:
    """One logger, which writes into the run folder unless told otherwise.

    Args:
        name: the logger's key in the group `logger`.
        node: the logger's class and arguments.
        run: the run folder.
        saved: the identifiers of the runs of W&B and MLflow to continue, by name of the logger;
            one that is gone is taken out, and a new one is begun.

    Raises:
        UserError: it refuses an argument.
    """
    defaults = {
        "save_dir": str(run.path),
        "run_name": run.path.name,
        "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", MLFLOW_STORE),
    }
    parameters = inspect.signature(get_class(node["_target_"])).parameters
    given = {key: value for key, value in node.items() if value is not None or key not in defaults}
    arguments = {key: value for key, value in defaults.items() if key in parameters} | given
    with store_lock(str(arguments.get("tracking_uri"))):
        if name in saved:
            continued = {key: str(saved[name]) for key in IDENTIFIERS if key in parameters}
            try:
                logger: Logger = build(arguments | continued, f"logger.{name}")
                _ = getattr(logger, "experiment", None)  # looks the run up
                return logger
            except Exception as error:
                if (reason := format_error(error)) is None:
                    raise
                gone = saved.pop(name)
                print(f"logger.{name} begins a new run, because {gone} is gone: {reason}")
        begun: Logger = build(arguments, f"logger.{name}")
        if isinstance(begun, MLFlowLogger):
            _ = begun.experiment  # creates the tables of the store, and the experiment
        return begun


def store_lock(uri: str) -> AbstractContextManager[Any]:
    """A lock for MLflow's store in a file: of jobs that create its tables at once, some would fail.

    Args:
        uri: the address of the store; only one in SQLite needs a lock.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or not path.parent.is_dir():
        return nullcontext()
    return FileLock(path.with_name(f".{path.name}.lock"))


def has_id(logger: Logger) -> bool:
    """Whether a logger can continue a run of its own."""
    return any(key in inspect.signature(type(logger)).parameters for key in IDENTIFIERS)


def finish(trainer: pl.Trainer, exit_code: int) -> None:
    """End the runs of W&B, which the next job of a sweep would otherwise write into."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and trainer.is_global_zero:
            logger.experiment.finish(exit_code)
