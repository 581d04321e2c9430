"""Searching for good settings with Optuna: which are tried next depends on what came out so far.

    python train.py search=runs/searches/rate 'optim.max_lr=tag(log,interval(0.1,2))'

A search lives in one folder: Optuna's database and a run folder for each trial. Any number of
processes can work on it, and any can be killed: a trial that was left goes on in another.
Accuracy on held-out images is what counts; the test images have no part in it.
"""

import csv
import io
import logging
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from tiny_mnist.config.loading import load_config, resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.errors import DataError, UserError, display_path, format_error
from tiny_mnist.runs.folder import FAILURE, PRUNED
from tiny_mnist.sweeps.job import HELD_OUT, all_hold_out, config_folder, is_hydras
from tiny_mnist.sweeps.progress import watch
from tiny_mnist.system.atomic_files import atomic_write
from tiny_mnist.system.signals import ChildProcesses, Interrupted

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure
    from optuna.distributions import BaseDistribution

log = logging.getLogger(__name__)

TRIALS = 30
BEST = 5  # trials in the table at the end
SCORE = "Validation accuracy (%)"
STARTUP = 5  # trials before any is pruned
OPTIONS = ("search", "search.trials", "search.jobs", "search.storage")


@dataclass(frozen=True)
class Options:
    """What the command line says about the search itself.

    Args:
        folder: of the search.
        trials: how many there are to be, over all times that the search is gone on with.
        jobs: processes that work on it here.
        storage: URL of Optuna's database; None for SQLite in the folder.
        overrides: of all trials; those with an interval, range or choice are searched.
    """

    folder: Path
    trials: int
    jobs: int
    storage: str | None
    overrides: list[str]


def read_options(arguments: list[str]) -> Options:
    """Read `search=FOLDER [search.trials=30] [search.jobs=1] [search.storage=URL] KEY=…`.

    Raises:
        UserError: something else is there.
    """
    given, overrides = {}, []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in OPTIONS:
            given[key] = value
        elif argument.startswith("-") or is_hydras(argument):
            raise UserError(f"{argument}: a search takes settings of runs and {', '.join(OPTIONS)}")
        else:
            overrides.append(argument)
    if not given["search"]:
        raise UserError("search= takes the folder of a search, such as search=runs/searches/rate")
    numbers = {}
    for key, usual in (("search.trials", TRIALS), ("search.jobs", 1)):
        try:
            numbers[key] = int(given.get(key, usual))
        except ValueError:
            numbers[key] = 0
        if numbers[key] < 1:
            raise UserError(f"{key}={given[key]} should be a whole number of at least 1")
    return Options(
        Path(given["search"]), numbers["search.trials"], numbers["search.jobs"],
        given.get("search.storage"), overrides,
    )  # fmt: skip


def search(arguments: list[str]) -> None:
    """Run a search, or go on with one, to its end.

    Raises:
        UserError: it cannot be run as asked.
        Interrupted: Ctrl-C or SIGTERM; the trials that were running can go on.
    """
    if not find_spec("optuna"):
        raise UserError("search= needs optuna: pip install -e '.[sweep]'")
    options = read_options(arguments)
    begun = Search(options)
    try:
        if options.jobs > 1:
            begun.work_side_by_side()
        else:
            begun.work()
    finally:
        begun.report()


class Search:
    """A search in its folder.

    Args:
        options: as on the command line.

    Raises:
        UserError: the folder holds a search for something else, or a setting is wrong.
    """

    def __init__(self, options: Options) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.options, self.folder = options, options.folder
        database = self.folder / "study.db"
        overrides = list(options.overrides)
        parsed = OverridesParser.create().parse_overrides(overrides)
        given = any(override.key_or_group == "data.val_size" for override in parsed)
        if overrides and not given and not all_hold_out(overrides):
            overrides.append(f"data.val_size={HELD_OUT}")
        if not database.exists() and not options.storage:
            self.check(overrides)  # before anything is left behind
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(
            options.storage or f"sqlite:///{database.resolve()}",
            engine_kwargs={} if options.storage else {"connect_args": {"timeout": 60}},
        )
        with FileLock(self.folder / ".lock"):
            if options.storage:  # which other searches may share
                name = str(self.folder.resolve())
            else:  # the folder may have been renamed
                name = next(iter(optuna.get_all_study_names(storage)), self.folder.name)
            self.study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize", load_if_exists=True
            )
            known = self.study.user_attrs.get("overrides")
            if known is None:
                self.check(overrides)
                self.study.set_user_attr("overrides", overrides)
            elif overrides and overrides != known:
                raise UserError(
                    f"{self.folder} holds a search for {' '.join(known)}; choose another folder"
                )
        self.check(known or overrides)
        warmup = self.first.trainer.max_epochs // 3
        self.study.pruner = optuna.pruners.MedianPruner(STARTUP, n_warmup_steps=warmup)

    def check(self, overrides: list[str]) -> None:
        """See what is searched, and that a trial can be run.

        Raises:
            UserError: it cannot.
        """
        if any(is_hydras(override) or override.startswith("-") for override in overrides):
            raise UserError(f"{self.folder} holds a search that changes more than settings of runs")
        self.space, self.constant = space(overrides)
        self.first = self.compose({key: first_value(d) for key, d in self.space.items()})
        if self.first.trainer.strategy == "ddp":
            raise UserError("a search trains each trial in one process; use search.jobs")
        if not self.first.data.val_size:
            raise UserError("a search needs held-out images: data.val_size must not be 0")

    def compose(self, parameters: dict[str, Any]) -> DictConfig:
        """The configuration of a trial.

        Raises:
            UserError: it is not valid.
        """
        chosen = [f"{key}={value}" for key, value in parameters.items()]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("train", [*self.constant, *chosen])
        validate(resolve_config(config))
        return config

    def work(self) -> None:
        """Do trials until there are enough of them."""
        while claimed := self.claim():
            trial, lock = claimed
            try:
                self.run(trial)
            finally:
                lock.release()

    def claim(self) -> "tuple[optuna.Trial, FileLock] | None":
        """A trial that a killed process has left, or a new one; None when there are enough."""
        import optuna

        with FileLock(self.folder / ".lock"):
            trials = self.study.get_trials(deepcopy=False)
            for left in trials:
                if left.state == optuna.trial.TrialState.RUNNING:
                    lock = self.lock_of(left.number)
                    with suppress(Timeout):
                        lock.acquire(timeout=0)
                        self.seed_sampler(left.number)
                        trial = optuna.Trial(self.study, left._trial_id)
                        for key, choices in self.space.items():  # it may have been left in `ask`
                            trial._suggest(key, choices)
                        return trial, lock
            if len(trials) >= self.options.trials:
                return None
            self.seed_sampler(len(trials))
            trial = self.study.ask(self.space)
            lock = self.lock_of(trial.number)
            lock.acquire()
            return trial, lock

    def seed_sampler(self, number: int) -> None:
        """Seed by the number of the trial: a sampler that begins anew would repeat itself."""
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(seed=number, constant_liar=True)

    def lock_of(self, number: int) -> FileLock:
        """Held by the process that works on a trial."""
        return FileLock(self.folder / f".{number}.lock")

    def run(self, trial: "optuna.Trial") -> None:
        """Train with the settings of one trial, and tell Optuna what came out.

        Raises:
            OSError, DataError, StorageInternalError: no trial could be run; this one is left.
        """
        import optuna

        from tiny_mnist.resume import write_log
        from tiny_mnist.runs.folder import Row, RunFolder
        from tiny_mnist.training.train import train

        run = RunFolder(self.folder / str(trial.number))
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values

        def after_epoch(row: Row) -> None:
            accuracy, epoch = row.get("val_accuracy"), int(row["epoch"] or 0)
            if accuracy is None:
                return
            if epoch not in reported:
                trial.report(accuracy, epoch)
            if epoch < self.first.trainer.max_epochs and trial.should_prune():
                raise optuna.TrialPruned(f"{accuracy:.2f} % after epoch {epoch}")

        print(f"\nTrial {trial.number}: {texts(trial.params)}")
        try:
            if run.has_results:  # it goes on as it was begun
                config = load_config(run.configuration)
            else:
                config = self.compose(trial.params)
                run.configuration.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(run.configuration) as file:
                    file.write(OmegaConf.to_yaml(config).encode())
            write_log(run.path / "train.log")
            score = train(config, run.path, resume=run.has_results, after_epoch=after_epoch)
        except optuna.TrialPruned as pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self.note(run.path / PRUNED, f"pruned at {pruned}")
        except (OSError, DataError, optuna.exceptions.StorageInternalError):
            raise
        except Exception as error:
            log.info("the trial failed", exc_info=error)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            reason = format_error(error) or f"{type(error).__name__}, see train.log"
            self.note(run.path / FAILURE, reason)
        else:
            self.study.tell(trial, score)

    def note(self, path: Path, text: str) -> None:
        """Leave a line in the folder of a trial, and show it."""
        with atomic_write(path) as file:
            file.write(f"{text}\n".encode())
        print(f"trial {path.parent.name}: {text}")

    def work_side_by_side(self) -> None:
        """Let several processes work on the search, with the threads divided among them.

        Raises:
            Interrupted: they were told to stop.
            UserError: one ended badly.
        """
        threads = max(1, (os.cpu_count() or 1) // self.options.jobs)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        command = [sys.executable, sys.argv[0], f"search={self.folder}", "search.jobs=1"]
        command.append(f"search.trials={self.options.trials}")
        if self.options.storage:
            command.append(f"search.storage={self.options.storage}")
        with ChildProcesses() as children:
            workers = [
                children.start(
                    command, env=environment | {WORKER: "1"}, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
                for _ in range(self.options.jobs)
            ]  # fmt: skip
            stop_watching = watch(self.folder, self.options.trials)
            try:
                said = [worker.communicate()[1] for worker in workers]
            finally:
                stop_watching()
        if children.received:
            raise Interrupted(children.received[0])
        for worker, errors in zip(workers, said, strict=True):
            if worker.returncode:
                reason = errors.strip().removeprefix("error: ") or f"status {worker.returncode}"
                raise UserError(f"a process of the search ended early: {reason}")

    @property
    def command(self) -> str:
        """What goes on with the search."""
        return f"python train.py {shlex.quote(f'search={display_path(self.folder)}')}"

    def report(self) -> None:
        """Print and write down what has come out so far."""
        import optuna

        if os.environ.get(WORKER):
            return
        trials = self.study.get_trials(deepcopy=False)
        done = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
        self.write_csv(trials)
        counts = {state.name.lower(): 0 for state in optuna.trial.TrialState}
        for trial in trials:
            counts[trial.state.name.lower()] += 1
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"\n{len(trials)} of {self.options.trials} trials: {text or 'none yet'}")
        if done:
            done.sort(key=lambda trial: trial.value or 0, reverse=True)
            table = Table(box=None, pad_edge=False)
            table.add_column("Trial", justify="right")
            table.add_column(SCORE, justify="right")
            table.add_column("Settings", overflow="fold")
            for trial in done[:BEST]:
                table.add_row(str(trial.number), f"{trial.value:.2f}", texts(trial.params))
            console.print(table)
            console.print(
                "The best of many is partly luck. For a figure that can be quoted, with new seeds:"
            )
            constant = [o for o in self.constant if not o.startswith(("data.val_size=", "seed="))]
            chosen = [f"{key}={value}" for key, value in done[0].params.items()]
            again = shlex.join(["python", "train.py", "-m", *constant, *chosen, "seed=1,2,3,4,5"])
            console.print(f"  {again}", markup=False)
            self.draw(len(done))
        console.print(f"Search folder: {display_path(self.folder)}")
        if len(trials) < self.options.trials or counts["running"]:
            console.print(f"Go on with: {self.command}", markup=False)

    def write_csv(self, trials: "list[optuna.trial.FrozenTrial]") -> None:
        """Write `search.csv`, one row a trial."""
        text = io.StringIO()
        columns = ["trial", "state", "val_accuracy", "epochs", *self.space]
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        for trial in trials:
            row = {"trial": trial.number, "state": trial.state.name.lower()}
            row |= {"val_accuracy": trial.value, "epochs": trial.last_step}
            table.writerow(row | trial.params)
        with atomic_write(self.folder / "search.csv") as file:
            file.write(text.getvalue().encode())

    def draw(self, done: int) -> None:
        """Save Optuna's own pictures."""
        from optuna import visualization
        from optuna.importance import PedAnovaImportanceEvaluator

        plots = visualization.matplotlib
        with quiet_plots():
            drawn = {
                "history": plots.plot_optimization_history(self.study, target_name=SCORE),
                "epochs": plots.plot_intermediate_values(self.study),
                "slices": plots.plot_slice(self.study, target_name=SCORE),
            }
            if done > 1:
                # Optuna's default of before release 5 needs scikit-learn.
                drawn["importances"] = plots.plot_param_importances(
                    self.study, evaluator=PedAnovaImportanceEvaluator(), target_name=SCORE
                )
            for name, drawing in drawn.items():
                axes = np.ravel(np.array(drawing))[0]
                figure: Figure = axes.figure
                if name == "slices":  # room for the ticks of each setting
                    figure.set_size_inches(4 * len(self.space) + 1, 4)
                if name == "epochs":
                    axes.set(xlabel="Epoch", ylabel=SCORE)
                    axes.xaxis.get_major_locator().set_params(integer=True)
                    if legend := axes.get_legend():
                        legend.remove()  # a line for each trial would cover the curves
                with atomic_write(self.folder / f"{name}.png") as file:
                    figure.savefig(file, format="png", dpi=110, bbox_inches="tight")


WORKER = "TINY_MNIST_SEARCH_WORKER"
"""Set in processes that leave the report to the one that started them."""


@contextmanager
def quiet_plots() -> Iterator[None]:
    """Draw without a screen, and without a word on what Optuna and matplotlib call experimental."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            plt.close("all")


def space(overrides: list[str]) -> "tuple[dict[str, BaseDistribution], list[str]]":
    """What is searched, by key, and the overrides that all trials share.

    Hydra's grammar: `interval(0.1,2)`, `tag(log,interval(…))`, `int(interval(4,32))`,
    `range(2,10,2)`, `choice(adagrad,adamw)` or `adagrad,adamw`.

    Raises:
        UserError: nothing is searched, or it cannot be.
    """
    searched, constant = {}, []
    for text, override in zip(
        overrides, OverridesParser.create().parse_overrides(overrides), strict=True
    ):
        if override.is_sweep_override():
            searched[override.get_key_element()] = distribution(text, override)
        else:
            constant.append(text)
    if not searched:
        raise UserError(
            "nothing to search for; say for instance 'optim.max_lr=tag(log,interval(0.1,2))'"
        )
    return searched, constant


def distribution(text: str, override: Override) -> "BaseDistribution":
    """Optuna's distribution for one override.

    Raises:
        UserError: there is none.
    """
    from optuna import distributions

    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            log = "log" in value.tags
            if isinstance(value.start, int) and isinstance(value.end, int):
                return distributions.IntDistribution(value.start, value.end, log=log)
            assert value.start is not None
            assert value.end is not None
            return distributions.FloatDistribution(value.start, value.end, log=log)
        if isinstance(value, RangeSweep):
            values = [int(each) for each in override.sweep_string_iterator()]
            return distributions.IntDistribution(
                min(values), max(values), step=abs(int(value.step))
            )
        return distributions.CategoricalDistribution([*override.sweep_string_iterator()])
    except (ValueError, TypeError) as error:
        raise UserError(f"{text} cannot be searched: {error}") from error


def first_value(distribution: "BaseDistribution") -> Any:
    """One value of a distribution, to check a configuration with."""
    if choices := getattr(distribution, "choices", None):
        return choices[0]
    return distribution.low  # type: ignore[attr-defined, unused-ignore]


def texts(parameters: dict[str, Any]) -> str:
    """Settings of a trial as one line."""
    return "  ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in parameters.items()
    )
