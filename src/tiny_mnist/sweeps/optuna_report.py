"""The results of a search: a table, `sweep.csv`, and Optuna's own plots."""

import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tiny_mnist.errors import display_path, program_name
from tiny_mnist.sweeps.optuna_study import check_params, completed_trials
from tiny_mnist.sweeps.plan import Job, SweepPlan
from tiny_mnist.system.atomic_files import atomic_write, write_csv

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MAX_BEST_TRIALS = 5  # in the table
SCORE = "Validation accuracy (%)"


def report_study(
    plan: SweepPlan,
    study: "optuna.Study",
    space: "dict[str, BaseDistribution]",
    constant: Job,
    total: int,
) -> None:
    """Print and write the results of the trials so far.

    Args:
        plan: the plan of the sweep.
        study: the study with its trials.
        space: the distribution of each parameter, by key.
        constant: the overrides that all trials share.
        total: the number of trials to run in all.
    """
    import optuna

    trials = [each for each in study.get_trials(deepcopy=False) if has_sweep_params(each, space)]
    done = completed_trials(trials)
    write_trials(plan, trials, space)
    counts = {state.name.lower(): 0 for state in optuna.trial.TrialState}
    for trial in trials:
        counts[trial.state.name.lower()] += 1
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"\n{len(trials)} of {total} trials: {text or 'none yet'}")
    if done:
        table = Table(box=None, pad_edge=False)
        table.add_column("Trial", justify="right")
        table.add_column(SCORE, justify="right")
        table.add_column("Settings", overflow="fold")
        for trial in done[:MAX_BEST_TRIALS]:
            table.add_row(str(trial.number), f"{trial.value:.2f}", format_params(trial.params))
        console.print(table)
        console.print(
            "The best of many is partly luck. For a figure that can be quoted, with new seeds:"
        )
        fixed = [
            text
            for text in constant
            if not text.startswith(("data.val_size=", "data.fold", "seed="))
        ]
        chosen = [f"{key}={value}" for key, value in done[0].params.items()]
        program = [*program_name().split(), *plan.config_dir]
        again = shlex.join([*program, "-m", *fixed, *chosen, "seed=1,2,3,4,5"])
        console.print(f"  {again}")
        plot_study(plan.folder, study, space, done)
    console.print(f"Sweep folder: {display_path(plan.folder)}")
    if len(trials) < total or counts["running"]:
        console.print(f"Go on with: {plan.resuming_command}")


def has_sweep_params(trial: "FrozenTrial", space: "dict[str, BaseDistribution]") -> bool:
    """Whether a trial that was read from the storage has parameters of this sweep."""
    try:
        check_params(trial.params, space)
    except (ValueError, TypeError):
        return False
    return True


def write_trials(
    plan: SweepPlan, trials: "list[FrozenTrial]", space: "dict[str, BaseDistribution]"
) -> None:
    """Write `sweep.csv`, one row a trial; accuracy in percent."""
    columns = ("trial", "state", "val_accuracy", "epochs", *space)
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "val_accuracy": trial.value,
            "epochs": trial.last_step,
            **trial.params,
        }
        for trial in trials
    ]
    write_csv(plan.folder / "sweep.csv", columns, rows)


def plot_study(
    folder: Path,
    study: "optuna.Study",
    space: "dict[str, BaseDistribution]",
    done: "list[FrozenTrial]",
) -> None:
    """Save Optuna's own plots: history, epochs, slices and importances.

    Importances need completed trials that differ in accuracy.
    """
    from optuna import visualization
    from optuna.importance import PedAnovaImportanceEvaluator

    plots = visualization.matplotlib
    with drawing_offscreen():
        axes_by_name = {
            "history": plots.plot_optimization_history(study, target_name=SCORE),
            "epochs": plots.plot_intermediate_values(study),
            "slices": plots.plot_slice(study, target_name=SCORE),
        }
        if len({trial.value for trial in done}) > 1:
            # Optuna's default of before release 5 needs scikit-learn.
            axes_by_name["importances"] = plots.plot_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(), target_name=SCORE
            )
        for name, drawing in axes_by_name.items():
            axes = np.ravel(np.array(drawing))[0]
            figure: Figure = axes.figure
            if name == "slices":  # room for the ticks of each setting
                figure.set_size_inches(4 * len(space) + 1, 4)
            if name == "epochs":
                axes.set(xlabel="Epoch", ylabel=SCORE)
                axes.xaxis.get_major_locator().set_params(integer=True)
                if legend := axes.get_legend():
                    legend.remove()  # a line for each trial would cover the curves
            with atomic_write(folder / f"{name}.png") as file:
                figure.savefig(file, format="png", dpi=110, bbox_inches="tight")


@contextmanager
def drawing_offscreen() -> Iterator[None]:
    """Draw without a display, and without warnings that are of no use to the user."""
    import matplotlib.pyplot as plt
    from optuna.exceptions import ExperimentalWarning

    plt.switch_backend("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Of a parameter that had the same value in all trials.
        warnings.filterwarnings("ignore", "Attempting to set identical low and high [xy]lims")
        try:
            yield
        finally:
            plt.close("all")


def format_params(parameters: dict[str, Any]) -> str:
    """Settings of a trial as one line."""
    return "  ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in parameters.items()
    )
