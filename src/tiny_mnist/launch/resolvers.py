"""OmegaConf resolvers used by `configs/train.yaml`: the folders and the mode follow from `resume`.

Importing this module registers them: a process that a launcher of Hydra starts for a job calls no
entry point of this program, and needs them too.
"""

import secrets
from pathlib import Path

from omegaconf import OmegaConf

from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import LATEST, RUNS, RunFolder, latest_unfinished_run
from tiny_mnist.sweeps.job import job_folder
from tiny_mnist.sweeps.plan import MULTIRUN
from tiny_mnist.system.processes import env_world_size, is_rank_zero


def run_folder(resume: str | None, default: str) -> str:
    """Value of `hydra.run.dir`: the run to resume, or a new folder.

    A process other than rank 0 writes nothing, so that it needs no folder of its own.

    Raises:
        UserError: there is no such run, or `latest` would be chosen by several processes.
    """
    if resume is None:
        return default if is_rank_zero() else "."
    if resume == LATEST:
        if env_world_size() > 1:
            raise UserError("resume=latest may mean another run to each process; name the folder")
        return str(latest_unfinished_run(RUNS).path)
    run = RunFolder(existing_folder(resume))
    if not run.configuration.is_file():
        raise UserError(f"no run to resume: there is no {run.configuration}")
    return str(run.path)


def sweep_folder(resume: str | None, default: str) -> str:
    """Value of `hydra.sweep.dir`: the sweep to resume, or a new folder."""
    return default if resume in (None, LATEST) else str(Path(str(resume)).expanduser())


def sweep_mode(resume: str | None) -> str | None:
    """Value of `hydra.mode`: MULTIRUN to resume a sweep, else what the flags say."""
    if resume is None or resume == LATEST:
        return None
    path = Path(str(resume)).expanduser()
    return "MULTIRUN" if (path / MULTIRUN).exists() else None


def log_handlers() -> list[str]:
    """Value of `hydra.job_logging.root.handlers`: only rank 0 writes the log file."""
    return ["console", "file"] if is_rank_zero() else ["console"]


def existing_folder(name: str) -> Path:
    """The folder given as `resume=`.

    Raises:
        UserError: there is none, or it is a file.
    """
    path = Path(str(name)).expanduser()
    if not path.is_dir():
        what = "a file" if path.exists() else "not there"
        raise UserError(f"resume={name} is {what}; name a run folder, a sweep folder, or latest")
    return path


# Cached per configuration, so that a run has one name and `latest` is looked up once.
OmegaConf.register_new_resolver("unique", lambda: secrets.token_hex(3), use_cache=True)
OmegaConf.register_new_resolver("run_folder", run_folder, use_cache=True)
OmegaConf.register_new_resolver("sweep_folder", sweep_folder)
OmegaConf.register_new_resolver("sweep_mode", sweep_mode)
OmegaConf.register_new_resolver("log_handlers", log_handlers)
OmegaConf.register_new_resolver("job_folder", job_folder)
