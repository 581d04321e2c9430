"""Optuna's study of a sweep: its storage, what is searched, and the trials that are handed out."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.utils import instantiate
from omegaconf import DictConfig

from tiny_mnist.errors import UserError, one_line
from tiny_mnist.sweeps.plan import Job, SweepPlan
from tiny_mnist.system.plain_files import check_not_link, is_percentage

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STUDY = "study.db"
"""Optuna's default storage, a file in the sweep folder."""


def load_study(sweeper: DictConfig, folder: Path) -> "optuna.Study":
    """Open or create the study of a sweep.

    Args:
        sweeper: the node `hydra.sweeper`.
        folder: the folder of the sweep, which exists.

    Raises:
        UserError: the storage is damaged, cannot be reached, or holds another study.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    if not sweeper.storage:
        for suffix in ("", "-journal", "-wal", "-shm"):  # the files that SQLite writes
            check_not_link(folder / f"{STUDY}{suffix}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = sweeper.storage or f"sqlite:///{(folder / STUDY).resolve()}"
    options = {} if sweeper.storage else {"connect_args": {"timeout": 60}}
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
        name = sweeper.study_name
        if name is None and not sweeper.storage:  # the folder may have been renamed
            name = next(iter(optuna.get_all_study_names(storage)), None)
        study = optuna.create_study(
            study_name=name or (str(folder.resolve()) if sweeper.storage else folder.name),
            storage=storage,
            direction=sweeper.direction,
            load_if_exists=True,
        )
        if study.direction.name.lower() != sweeper.direction:
            raise ValueError(f"it is to {study.direction.name.lower()}, not {sweeper.direction}")
        check_trials(study.get_trials(deepcopy=False))
    except (
        SQLAlchemyError, ImportError, RuntimeError, ValueError, TypeError, LookupError,
        AssertionError, AttributeError, optuna.exceptions.OptunaError,
    ) as error:  # fmt: skip
        cause = getattr(error, "orig", None) or error.__cause__ or error
        place = "hydra.sweeper.storage" if sweeper.storage else folder / STUDY
        raise UserError(f"{place} cannot be used as a study: {one_line(cause)[:200]}") from error
    study.pruner = (
        instantiate_experimental(sweeper.pruner) if sweeper.pruner else optuna.pruners.NopPruner()
    )
    return study


def check_trials(trials: "Sequence[optuna.trial.FrozenTrial]") -> None:
    """Check the trials of a storage, which may come from a stranger.

    Raises:
        ValueError: their numbers are not 0, 1, 2, …, a trial is in the state WAITING, which sweeps
            never create, or an accuracy is no percentage.
    """
    import optuna

    for at, trial in enumerate(trials):
        if trial.number != at:
            raise ValueError(f"trial {at} has the number {trial.number}")
        if trial.state == optuna.trial.TrialState.WAITING:
            raise ValueError(f"trial {at} waits in a queue, from which a sweep takes none")
        if trial.state == optuna.trial.TrialState.COMPLETE and not is_percentage(trial.value):
            raise ValueError(f"trial {at} has the accuracy {trial.value}")


def instantiate_experimental(node: Any, **arguments: Any) -> Any:
    """Instantiate a class of Optuna's without a warning that it is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return instantiate(node, **arguments)


def search_space(plan: SweepPlan) -> "tuple[dict[str, BaseDistribution], Job]":
    """What is searched, by key, and the overrides that all trials share.

    Hydra's grammar: `interval(0.1,2)`, `tag(log,interval(…))`, `int(interval(4,32))`,
    `range(2,10,2)`, `choice(adagrad,adamw)` or `adagrad,adamw`.

    Raises:
        UserError: nothing is searched, or it cannot be.
    """
    searched, constant = {}, []
    for text, override in zip(plan.overrides, plan.parse(plan.overrides), strict=True):
        if override.is_sweep_override():
            searched[override.get_key_element()] = make_distribution(text, override)
        else:
            constant.append(text)
    if not searched:
        raise UserError(
            "nothing to search for; say for instance 'optim.max_lr=tag(log,interval(0.1,2))'"
        )
    return searched, constant


def make_distribution(text: str, override: Override) -> "BaseDistribution":
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
            steps = list(override.sweep_string_iterator())
            if all(float(each).is_integer() for each in [*steps, value.step]):
                numbers = [int(float(each)) for each in steps]
                return distributions.IntDistribution(
                    min(numbers), max(numbers), step=abs(int(value.step))
                )
            return distributions.CategoricalDistribution([*steps])
        return distributions.CategoricalDistribution([*override.sweep_string_iterator()])
    except (ValueError, TypeError) as error:
        raise UserError(f"{text} cannot be searched: {error}") from error


def corner_jobs(space: "dict[str, BaseDistribution]") -> "list[dict[str, Any]]":
    """Parameters that reach each end of each range, and each choice, at least once."""
    ends = {
        key: list(getattr(each, "choices", None) or (each.low, each.high))  # type: ignore[attr-defined, unused-ignore]
        for key, each in space.items()
    }
    longest = max(len(values) for values in ends.values())
    return [
        {key: values[min(at, len(values) - 1)] for key, values in ends.items()}
        for at in range(longest)
    ]


def format_overrides(params: dict[str, Any]) -> Job:
    """The parameters of a trial as overrides."""
    return [f"{key}={value}" for key, value in params.items()]


class TrialQueue:
    """Hands out the trials of a study, each to one process at a time.

    Args:
        study: the study.
        space: the distribution of each parameter, by key.
        folder: the folder of the sweep; it holds a lock for each trial that is worked on.
        sampler: the node `hydra.sweeper.sampler`.
        total: the number of trials to run in all.
    """

    def __init__(
        self,
        study: "optuna.Study",
        space: "dict[str, BaseDistribution]",
        folder: Path,
        sampler: DictConfig,
        total: int,
    ) -> None:
        self.study, self.space, self.folder = study, space, folder
        self.sampler, self.total = sampler, total
        self.locks: list[FileLock] = []

    def claim(self, number: int) -> "list[optuna.Trial]":
        """Take trials that a killed process has left, and new ones; none when there are enough.

        Args:
            number: the largest number of trials to take.

        Raises:
            UserError: the study holds parameters that are not of this sweep.
        """
        import optuna

        claimed: list[optuna.Trial] = []
        check_not_link(self.folder / ".lock")
        with FileLock(self.folder / ".lock"):
            trials = self.study.get_trials(deepcopy=False)
            for left in trials:
                if len(claimed) < number and left.state == optuna.trial.TrialState.RUNNING:
                    with suppress(Timeout):
                        self.lock(left.number)
                        claimed.append(self.complete_params(left))
            for at in range(len(trials), min(self.total, len(trials) + number - len(claimed))):
                self.lock(at)
                self.seed_sampler(at)
                claimed.append(self.study.ask(self.space))
        return claimed

    def complete_params(self, left: "optuna.trial.FrozenTrial") -> "optuna.Trial":
        """Reopen a trial that a killed process has left, and suggest parameters that it lacks.

        Raises:
            UserError: its parameters are not of this sweep.
        """
        self.seed_sampler(left.number)
        trial = reopen_trial(self.study, left)
        try:
            for key, distribution in self.space.items():
                suggest(trial, key, distribution)
            check_params(trial.params, self.space)
        except ValueError as error:
            raise UserError(
                f"trial {left.number} of {self.folder} is not of this sweep: "
                f"{one_line(error)[:200]}"
            ) from error
        return trial

    def seed_sampler(self, number: int) -> None:
        """Seed by the trial's number, so that a new process does not repeat the first draws."""
        if not self.sampler:  # Optuna's default
            return
        seed = self.sampler.get("seed")
        extra = {} if seed is None else {"seed": seed + number}
        self.study.sampler = instantiate_experimental(self.sampler, **extra)

    def lock(self, number: int) -> None:
        """Take the lock of a trial.

        Raises:
            Timeout: another process works on it.
            UserError: the lock is a link.
        """
        path = self.folder / f".{number}.lock"
        check_not_link(path)
        lock = FileLock(path)
        lock.acquire(timeout=0)
        self.locks.append(lock)

    def release(self) -> None:
        """Leave what was claimed to others, unless it is finished."""
        while self.locks:
            self.locks.pop().release()


def reopen_trial(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> "optuna.Trial":
    """A running trial that was read from the storage, to suggest parameters or report values.

    Optuna has no public attribute with the id that the constructor of a trial takes.
    """
    import optuna

    return optuna.Trial(study, trial._trial_id)


def suggest(trial: "optuna.Trial", key: str, distribution: "BaseDistribution") -> None:
    """Suggest one parameter of a trial; one that it has already stays as it is."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(key, low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(key, low, high, log=log, step=step)
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(key, choices)


def check_params(params: dict[str, Any], space: "dict[str, BaseDistribution]") -> None:
    """Check parameters that were read from a storage.

    Raises:
        ValueError: a key that is not searched, or a value outside its range.
    """
    for key, value in params.items():
        if key not in space:
            raise ValueError(f"{key} is not searched")
        # Optuna has no public function that checks a value.
        if not space[key]._contains(space[key].to_internal_repr(value)):
            raise ValueError(f"{key}={value} is out of its range")


def completed_trials(
    trials: "Sequence[optuna.trial.FrozenTrial]",
) -> "list[optuna.trial.FrozenTrial]":
    """The completed trials, the best first."""
    import optuna

    done = [each for each in trials if each.state == optuna.trial.TrialState.COMPLETE]
    return sorted(done, key=lambda trial: trial.value or 0, reverse=True)
