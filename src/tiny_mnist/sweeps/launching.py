"""Running the jobs of a sweep: the launcher, signals for all of its processes, the display."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from tiny_mnist.sweeps.plan import is_sequential
from tiny_mnist.sweeps.progress import SweepProgress
from tiny_mnist.system.signals import DeferredInterrupt, Interrupted, handled_signals


def make_launcher(
    config: DictConfig, context: HydraContext, task: TaskFunction, jobs: int
) -> Launcher:
    """The launcher that the user has chosen.

    Args:
        config: of the sweep.
        context: of Hydra.
        task: what runs a job.
        jobs: at once at most; joblib divides the cores by its number of processes.
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


class ForwardedSignals:
    """Context manager that passes the first of each signal on to joblib's processes.

    They save their state and end, and so does the sweep then. A second signal, or one that comes
    while no process runs here, ends the sweep at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> "ForwardedSignals":
        self.before = {number: signal.signal(number, self.forward) for number in handled_signals()}
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.received is not None and not isinstance(error, Interrupted):
            raise Interrupted(self.received) from error

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        first, self.received = self.received is None, number
        processes = multiprocessing.active_children()
        for process in processes:
            with suppress(OSError):
                os.kill(process.pid or 0, number)
        if not (first and processes):
            raise Interrupted(number)
