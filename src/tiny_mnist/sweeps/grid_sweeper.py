"""Hydra's grid of all combinations, with a table of what is finished, whatever ends the sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.errors import UserError, display_path, printable
from tiny_mnist.runs.folder import FAILURE, SUMMARY, RunFolder, job_number
from tiny_mnist.sweeps.launching import launch, make_launcher, running
from tiny_mnist.sweeps.optuna_study import STUDY
from tiny_mnist.sweeps.plan import HELD_OUT, HELD_OUT_NOTE, MULTIRUN, Job, Plan, hold_out
from tiny_mnist.system.plain_files import read_text
from tiny_mnist.system.terminal import make_console


class GridSweeper(BasicSweeper):
    """Runs a job for each combination of the values that are swept.

    Args:
        max_batch_size: jobs that are handed to the launcher at once; None for all.
        params: overrides by key, as on the command line; what is given there replaces them.
    """

    def __init__(
        self, max_batch_size: int | None = None, params: dict[str, str] | None = None
    ) -> None:
        # Not through super(): Hydra's search for plugins executes the module of BasicSweeper again,
        # whose class is then another than this one's base.
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the launcher will need: it is made when the number of jobs is known."""
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Run the sweep.

        Raises:
            UserError: a job cannot be run as asked; nothing has been written.
            SystemExit: jobs have failed; status 1.
            Interrupted: a signal ended the sweep.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        size = self.max_batch_size
        if size is not None and (type(size) is not int or size < 1):
            raise UserError(
                "hydra.sweeper.max_batch_size should be a whole number of at least 1, or null"
            )
        plan = Plan(self.config, self.hydra_context.config_loader, arguments, self.params)
        batches = self.make_batches(plan)
        jobs = [job for batch in batches for job in batch]
        parallel = min(self.max_batch_size or len(jobs), len(jobs))
        plan.begin()
        results: list[Any] = []
        try:
            launcher = make_launcher(self.config, self.hydra_context, self.task_function, parallel)
            with running(self.config, plan.folder, len(jobs)):
                for batch in batches:
                    results += launch(launcher, batch, len(results))
        finally:
            report(plan, len(jobs))
        if failures(plan.folder):
            raise SystemExit(1)
        return results

    def make_batches(self, plan: Plan) -> list[list[Job]]:
        """The jobs, all of which have been composed and checked.

        Raises:
            UserError: one of them is refused, or the folder holds another sweep.
        """
        for text, override in zip(plan.overrides, plan.parse(plan.overrides), strict=True):
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise UserError(
                    f"{text}: an interval has no end of values; give some, as in "
                    f"{override.key_or_group}=0.3,0.75, or search it with hydra/sweeper=optuna"
                )
        if (plan.folder / MULTIRUN).exists() and not plan.resumed:
            raise UserError(
                f"{plan.folder} already holds a sweep; choose another hydra.sweep.dir, or go on "
                f"with {plan.resuming_command}"
            )
        if (plan.folder / STUDY).exists():
            raise UserError(f"{plan.folder} is a search with Optuna; add hydra/sweeper=optuna")
        plan.prepare_jobs()
        jobs = self.split_arguments(plan.parse(plan.overrides), None)[0]
        print(f"Sweep folder: {display_path(plan.folder)} ({len(jobs)} jobs)", flush=True)
        configs = [plan.compose(job) for job in jobs]
        if hold_out(plan, configs):
            print(HELD_OUT_NOTE)
            plan.overrides.append(f"data.val_size={HELD_OUT}")
            jobs = [[*job, plan.overrides[-1]] for job in jobs]
            configs = [plan.compose(job) for job in jobs]
        check_components_of(configs)
        jobs = [plan.job_arguments(job) for job in jobs]
        size = self.max_batch_size or len(jobs)
        return [jobs[at : at + size] for at in range(0, len(jobs), size)]


def check_components_of(configs: Sequence[DictConfig]) -> None:
    """Check the classes of each job, and each network with each optimizer.

    Raises:
        UserError: a class cannot be found, or an optimizer refuses a setting.
    """
    from tiny_mnist.training.checks import check_classes, check_optim

    unlike = {}
    for config in configs:
        settings = resolve_config(config)
        check_classes(settings)
        unlike[repr([settings["optim"], settings["model"]])] = settings
    for settings in unlike.values():
        check_optim(settings)


def failures(folder: Path) -> dict[str, str]:
    """Why jobs of a sweep failed, by the names of their folders, printable.

    The folder may come from a stranger: a file that cannot be read tells so itself.
    """
    reasons = {}
    for path in sorted(folder.glob(f"*/{FAILURE}"), key=lambda path: job_number(path.parent)):
        if RunFolder(path.parent).summary.is_file():  # another process has done it since
            continue
        try:
            reason = read_text(path).strip()
        except (UserError, OSError) as error:
            reason = str(error)
        reasons[printable(path.parent.name)] = printable(reason)
    return reasons


def report(plan: Plan, jobs: int) -> None:
    """Write and print the table of what is finished, and say what is not.

    Args:
        plan: of the sweep.
        jobs: how many it has.
    """
    from tiny_mnist.comparison.grouping import find_runs
    from tiny_mnist.comparison.plots import plot_sweep
    from tiny_mnist.comparison.ranking import Ranking
    from tiny_mnist.evaluation.plots import save

    console = make_console()  # not Rich's global one, on which a bar may be drawn
    finished = sum(path.is_file() for path in plan.folder.glob(f"*/{SUMMARY}"))
    if finished:
        try:
            ranking = Ranking(find_runs([plan.folder]))
        except UserError as error:  # must not replace what ended the sweep
            console.print(f"No table: {printable(error)}", soft_wrap=True, markup=False)
        else:
            ranking.write_csv(plan.folder / "sweep.csv")
            save(plot_sweep(ranking.configurations, ranking.split), plan.folder / "sweep.png")
            console.print("", ranking.table(console.width), sep="\n")
            console.print(*ranking.notes(), sep="\n", soft_wrap=True, markup=False)
    console.print(f"\nSweep folder: {display_path(plan.folder)}", soft_wrap=True, markup=False)
    if finished < jobs:
        failed = failures(plan.folder)
        told = f", {len(failed)} failed" if failed else ""
        console.print(f"{finished} of {jobs} jobs finished{told}", soft_wrap=True)
        for name, reason in failed.items():
            console.print(f"  {name}: {reason}", soft_wrap=True, markup=False)
        console.print(f"Go on with: {plan.resuming_command}", soft_wrap=True, markup=False)
