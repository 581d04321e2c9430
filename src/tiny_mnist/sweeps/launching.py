"""Running the jobs of a sweep: the launcher, signals for all of its processes, the display."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.sweeps.plan import is_sequential
from tiny_mnist.sweeps.progress import SweepProgress
from tiny_mnist.system.signals import DeferredInterrupt, ForwardedSignals


def make_launcher(
    config: DictConfig, context: HydraContext, task: TaskFunction, jobs: int
) -> Launcher:
    """The launcher that the user has chosen.

    Args:
        config: the configuration of the sweep.
        context: the context of Hydra.
        task: the function that runs a job.
        jobs: the largest number of jobs at once; joblib divides the cores by its number of
            processes.
    """
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    if OmegaConf.select(config, "hydra.launcher.n_jobs") == -1:
        from joblib import cpu_count

        # Not in the configuration, which Hydra 1.4 compares with that of each job.
        launcher.joblib["n_jobs"] = min(jobs, cpu_count())  # type: ignore[attr-defined]
    return launcher


@contextmanager
def running(config: DictConfig, folder: Path, jobs: int) -> Iterator[None]:
    """Show the progress of jobs, and pass signals on to them.

    Raises:
        Interrupted: the sweep was told to stop.
    """
    signals = DeferredInterrupt() if is_sequential(config) else ForwardedSignals()
    with signals, SweepProgress(folder, jobs).following():
        yield


def launch(launcher: Launcher, jobs: Sequence[Sequence[str]], first: int) -> list[Any]:
    """Run jobs and return what each of them returned.

    Raises:
        Exception: as raised by a job that ended every other as well.
    """
    results: Sequence[JobReturn] = launcher.launch(jobs, initial_job_idx=first)
    # Hydra would print the overrides of a job that raised, above the one line that explains it.
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        return [result.return_value for result in results]
