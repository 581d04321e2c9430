"""Hydra's grid of all combinations, with a table of what is finished, whatever ends the sweep."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tiny_mnist.errors import UserError, display_path, printable
from tiny_mnist.runs.folder import FAILURE, SUMMARY, RunFolder, job_number
from tiny_mnist.sweeps.holdout import compose_with_holdout
from tiny_mnist.sweeps.launching import launch, make_launcher, running
from tiny_mnist.sweeps.optuna_study import STUDY
from tiny_mnist.sweeps.plan import MULTIRUN, Job, SweepPlan, check_job_components
from tiny_mnist.system.plain_files import read_text
from tiny_mnist.system.terminal import make_console


class GridSweeper(BasicSweeper):
    """Runs a job for each combination of the values that are swept.

    Args:
        max_batch_size: the number of jobs that are handed to the launcher at once; None for all.
        params: overrides by key, as on the command line; those given there replace them.
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
        plan = SweepPlan(self.config, self.hydra_context.config_loader, arguments, self.params)
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
            report_sweep(plan, len(jobs))
        if read_failures(plan.folder):
            raise SystemExit(1)
        return results

    def make_batches(self, plan: SweepPlan) -> list[list[Job]]:
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
        jobs, configs = compose_with_holdout(plan, jobs)
        check_job_components(configs)
        jobs = [plan.job_arguments(job) for job in jobs]
        size = self.max_batch_size or len(jobs)
        return [jobs[at : at + size] for at in range(0, len(jobs), size)]


def read_failures(folder: Path) -> dict[str, str]:
    """Why jobs of a sweep failed, by the names of their folders, printable.

    The folder may come from a stranger: the reason may be that the file
    cannot be read.
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


def report_sweep(plan: SweepPlan, jobs: int) -> None:
    """Write and print the table of the finished jobs, and print which jobs are not finished.

    Args:
        plan: the plan of the sweep.
        jobs: the number of its jobs.
    """
    from tiny_mnist.comparison.grouping import find_runs
    from tiny_mnist.comparison.plots import plot_sweep
    from tiny_mnist.comparison.ranking import Ranking
    from tiny_mnist.evaluation.plots import save_png

    console = make_console()  # not Rich's global one, on which a bar may be drawn
    finished = sum(path.is_file() for path in plan.folder.glob(f"*/{SUMMARY}"))
    if finished:
        try:
            ranking = Ranking(find_runs([plan.folder]))
        except UserError as error:  # must not replace what ended the sweep
            console.print(f"No table: {printable(error)}", soft_wrap=True, markup=False)
        else:
            ranking.write_csv(plan.folder / "sweep.csv")
            save_png(plot_sweep(ranking.configurations, ranking.split), plan.folder / "sweep.png")
            console.print("", ranking.table(console.width), sep="\n")
            console.print(*ranking.notes(), sep="\n", soft_wrap=True, markup=False)
    console.print(f"\nSweep folder: {display_path(plan.folder)}", soft_wrap=True, markup=False)
    if finished < jobs:
        failed = read_failures(plan.folder)
        failed_count = f", {len(failed)} failed" if failed else ""
        console.print(f"{finished} of {jobs} jobs finished{failed_count}", soft_wrap=True)
        for name, reason in failed.items():
            console.print(f"  {name}: {reason}", soft_wrap=True, markup=False)
        console.print(f"Go on with: {plan.resuming_command}", soft_wrap=True, markup=False)
