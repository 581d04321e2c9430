"""A Hydra sweeper on Optuna's ask and tell: each batch of trials goes to the chosen launcher.

    python train.py -m hydra/sweeper=optuna 'optim.max_lr=tag(log,interval(0.1,2))'

Accuracy on held-out images is what counts. Any number of processes can work on one sweep folder,
and any can be killed: a trial that was left is resumed by the next process.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.errors import UserError, display_path
from tiny_mnist.extras import require
from tiny_mnist.runs.folder import FAILURE, PRUNED, RunFolder
from tiny_mnist.sweeps.holdout import compose_with_holdout
from tiny_mnist.sweeps.job import job_folder, needs_processes
from tiny_mnist.sweeps.launching import launch, make_launcher, running
from tiny_mnist.sweeps.plan import (
    MULTIRUN,
    Job,
    SweepPlan,
    check_job_components,
    saved_overrides,
)
from tiny_mnist.system.memory import keeping_objects

if TYPE_CHECKING:
    import optuna

PRUNING = "callbacks.pruning"
CALLBACK = "tiny_mnist.sweeps.pruning.PruningCallback"


class OptunaSweeper(Sweeper):
    """Searches for the settings of the highest accuracy on held-out images.

    The arguments are the keys of `configs/hydra/sweeper/optuna.yaml`, which describes them; study
    and pruner are built from the same node where they are needed.
    """

    def __init__(
        self, n_trials: int, n_jobs: int, params: dict[str, Any] | None = None, **study: Any
    ) -> None:
        self.n_trials, self.n_jobs, self.params = n_trials, n_jobs, params or {}
        self.study_options = study

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the launcher will need."""
        self.context, self.task_function, self.settings = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are enough.

        Raises:
            UserError: it cannot be run as asked; nothing has been written.
            SystemExit: no trial of the study was completed; status 1.
            Interrupted: a signal ended the sweep; trials that ran can be resumed.
        """
        require("sweep", "hydra/sweeper=optuna", ("optuna",))
        from tiny_mnist.sweeps.optuna_report import report_study
        from tiny_mnist.sweeps.optuna_study import TrialQueue, completed_trials, load_study

        for name in ("n_trials", "n_jobs"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"hydra.sweeper.{name} should be a whole number of at least 1")
        if self.study_options.get("direction") != "maximize":
            raise UserError("hydra.sweeper.direction: an accuracy can only be maximized")
        plan = SweepPlan(self.settings, self.context.config_loader, arguments, self.params)
        self.prepare(plan)
        sweeper = self.settings.hydra.sweeper
        if sweeper.storage:  # before the folder is made: the storage may be out of reach
            load_study(sweeper, plan.folder)
        plan.begin()
        study = load_study(sweeper, plan.folder)
        trials = TrialQueue(study, self.space, plan.folder, sweeper.sampler, self.n_trials)
        launcher = make_launcher(self.settings, self.context, self.task_function, self.n_jobs)
        try:
            with running(self.settings, plan.folder, self.n_trials):
                while claimed := trials.claim(self.n_jobs):
                    try:
                        self.run_batch(plan, study, launcher, claimed)
                    finally:
                        trials.release()
        finally:
            report_study(plan, study, self.space, self.constant, self.n_trials)
        if not completed_trials(study.get_trials(deepcopy=False)):
            raise SystemExit(1)

    def prepare(self, plan: SweepPlan) -> None:
        """Find what is searched, and compose trials at the ends of all ranges.

        Raises:
            UserError: one of them is refused, or the folder holds another sweep.
        """
        from tiny_mnist.sweeps.optuna_study import corner_jobs, format_overrides, search_space

        with keeping_objects():
            from tiny_mnist.training.builders import build_data, eval_split_of

        self.space, self.constant = search_space(plan)
        if "data.fold" in self.space:
            raise UserError(
                "data.fold is no setting to search: name one, and sweep all folds of what is found"
            )
        plan.prepare_jobs()
        print(f"Sweep folder: {display_path(plan.folder)} ({self.n_trials} trials)", flush=True)
        corners = [[*self.constant, *format_overrides(each)] for each in corner_jobs(self.space)]
        _, configs = compose_with_holdout(plan, corners, is_search=True)
        _, self.constant = search_space(plan)
        for config in configs:
            if eval_split_of(build_data(resolve_config(config))) == "test":
                raise UserError("a search needs held-out images: data.val_size must not be 0")
            if needs_processes(config):
                raise UserError("a search trains each trial in one process, without trainer=ddp")
        check_job_components(configs)
        # Trials of fewer epochs have finished their schedule where longer ones have not.
        self.prune = len({config.trainer.max_epochs for config in configs}) == 1
        path = plan.folder / MULTIRUN
        if path.exists() and not plan.resumed:
            known = saved_overrides(path, self.settings, plan.loader)
            if known != plan.overrides:
                raise UserError(
                    f"{plan.folder} holds a sweep of {' '.join(known)}; choose another "
                    "hydra.sweep.dir"
                )

    def run_batch(
        self,
        plan: SweepPlan,
        study: "optuna.Study",
        launcher: Launcher,
        claimed: "list[optuna.Trial]",
    ) -> None:
        """Run some trials, and tell the study what came out.

        Raises:
            Exception: no trial could be run; these are left to be resumed.
        """
        import optuna

        from tiny_mnist.sweeps.optuna_study import format_overrides

        jobs: list[Job] = []
        folders: list[Path] = []
        for trial in claimed:
            chosen = format_overrides(trial.params)
            name = job_folder(trial.number, ",".join(chosen))
            folders.append(plan.folder / name)
            jobs.append(
                plan.job_arguments(
                    [
                        *self.constant, *chosen, f"hydra.sweep.subdir='{name}'",
                        f"+{PRUNING}._target_={CALLBACK}", f"+{PRUNING}.prune={self.prune}",
                    ]
                )
            )  # fmt: skip
        states = optuna.trial.TrialState
        results = launch(launcher, jobs, claimed[0].number)
        for trial, folder, value in zip(claimed, folders, results, strict=True):
            if RunFolder(folder).summary.exists() and value is not None and math.isfinite(value):
                study.tell(trial, value)
            elif (folder / PRUNED).exists():
                study.tell(trial, state=states.PRUNED)
            elif (folder / FAILURE).exists() or RunFolder(folder).summary.exists():
                study.tell(trial, state=states.FAIL)
            else:
                raise UserError(f"another process is training in {folder}; resume when it is done")
