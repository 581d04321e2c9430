"""Finished runs, read from their summaries and grouped over their seeds and folds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from tiny_mnist.config.data_sections import ANY_IMAGES
from tiny_mnist.config.schema import REPORTING_CALLBACKS
from tiny_mnist.errors import UserError, one_line, printable
from tiny_mnist.runs.folder import SUMMARY
from tiny_mnist.system.plain_files import read_json_object

Summary = dict[str, Any]
"""The content of a summary.json, its configuration by keys as on the command line."""


class ClassPath(str):
    """The dotted path of a class. Runs are compared by it, and shown by its last name."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.rpartition(".")[2]


class Fold(NamedTuple):
    """The part of the training images that a run holds out in a cross-validation."""

    number: int
    """Counted from 0."""
    num_folds: int
    seed: int
    """Determines which images are in which fold."""


class Repeat(NamedTuple):
    """Seed and fold of a run. Runs of two configurations with equal values form a pair."""

    seed: int
    fold: Fold | None = None
    """None without cross-validation."""


GROUP_EXCLUDES = (
    "seed", "data.fold",  # tell the runs of one group apart
    "data.root", "checkpoint_every",
    "trainer.profiler", "trainer.log_every_n_steps", "trainer.detect_anomaly",
    *(f"callbacks.{name}" for name in REPORTING_CALLBACKS),  # others may change it
    "logger", "resume", "trust",
)  # fmt: skip
"""Keys by which runs are not told apart, with all keys below them.

Seed and fold tell the runs of one group apart; the others do not change the result of a run.
"""
COUNT_OR_FRACTION = ("trainer.limit_", "trainer.overfit_batches", "trainer.val_check_interval")
"""Keys whose integers are numbers of batches, while 1.0 means all of them."""


def find_runs(folders: list[Path]) -> dict[Path, Summary]:
    """The summaries of all finished runs in and below some folders, each once.

    Raises:
        UserError: there is none, or one is not a summary of a run.
    """
    found = sorted({path.resolve() for folder in folders for path in folder.rglob(SUMMARY)})
    if not found:
        raise UserError(f"no finished run in {', '.join(map(str, folders))}")
    runs = {}
    for path in found:
        try:
            runs[path.parent] = read_run(path)
        except UserError:
            raise
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
        ) as error:  # fmt: skip
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise UserError(f"{path} is not the summary of a run: {reason[:200]}") from error
    return runs


def read_run(path: Path) -> Summary:
    """One summary, its numbers checked: it may come from a stranger.

    Raises:
        UserError: it cannot be read.
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError: it is
            something else.
    """
    summary = read_json_object(path)
    config = dict(flatten_config(summary["config"]))
    seed = config["seed"]
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError("seed is not a number from 0 to 2**32 - 1")
    images = {f"{split}_images": summary.get(f"{split}_images") or 0 for split in ("val", "test")}
    test, val = summary["test_accuracy"], summary.get("val_accuracy")
    return {
        "test_accuracy": None if test is None else read_number(summary, "test_accuracy", 100.0),
        "training_seconds": read_number(summary, "training_seconds", 1e12),
        "val_accuracy": None if val is None else read_number(summary, "val_accuracy", 100.0),
        **{key: read_number(images, key, 1e12) for key in images},
        "seed": seed,
        "repeat": Repeat(seed, read_fold(config)),
        "config": config,
    }


def read_fold(config: dict[str, Any]) -> Fold | None:
    """The fold that a run held out.

    Raises:
        ValueError: it is not one of its folds.
    """
    values = [config.get(f"data.{key}") for key in ("fold", "folds", "fold_seed")]
    number, num_folds, seed = (0 if value is None else value for value in values)
    if not all(isinstance(value, int) for value in (number, num_folds, seed)):
        raise ValueError("data.fold, data.folds or data.fold_seed is not a number")
    if not num_folds:
        return None
    if not 0 <= number < num_folds <= 2**32:
        raise ValueError(f"data.fold={number} is not one of {num_folds}")
    return Fold(number, num_folds, seed)


def read_number(summary: dict[str, Any], key: str, largest: float) -> float:
    """A number of a summary, from 0 to `largest`.

    Raises:
        ValueError: it is something else.
    """
    value = summary[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise ValueError(f"{key} is not a number from 0 to {largest:g}")
    return float(value)


def flatten_config(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A configuration by keys as on the command line; a class is the value of its node's key."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flatten_config(value, f"{prefix}{key}.")
        elif key == "_target_":
            yield prefix.removesuffix("."), ClassPath(value)
        else:
            yield f"{prefix}{key}", str(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in seed and fold alone.

    Args:
        settings: the settings that differ between the groups of a table; None for those that this
            group does not have.
        runs: the summaries of its runs, by seed and fold.
        named_by: the keys of the settings in its name; one for several that change together.
    """

    settings: dict[str, Any]
    runs: dict[Repeat, Summary]
    named_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The settings that tell the group from others, as one text."""
        chosen = {key: self.settings[key] for key in self.named_by or self.settings}
        parts = [f"{key}={format_value(v)}" for key, v in chosen.items() if v is not None]
        return printable(" ".join(parts)) or ("(defaults)" if self.settings else "all the same")

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs, ascending."""
        return sorted({repeat.seed for repeat in self.runs})

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds, ascending; empty without cross-validation."""
        return sorted({repeat.fold.number for repeat in self.runs if repeat.fold})

    @property
    def images(self) -> tuple[Any, ...]:
        """The images that the runs were trained on; only runs on the same images are compared."""
        first = next(iter(self.runs.values()))["config"]
        return first.get("data"), first.get("data.root") if is_any_images(first) else None

    def scores(self, split: str) -> dict[Repeat, float]:
        """Final accuracy in percent by seed and fold, on the "val" or "test" images.

        Runs that were not evaluated on these images are left out.
        """
        return {
            repeat: accuracy
            for repeat, summary in sorted(self.runs.items())
            if (accuracy := summary[f"{split}_accuracy"]) is not None
        }

    def mean(self, split: str) -> float | None:
        """Mean final accuracy in percent; None where it was not measured."""
        scores = self.scores(split).values()
        return mean(scores) if scores else None


def group_by_settings(runs: dict[Path, Summary]) -> list[RunGroup]:
    """Runs grouped over seeds and folds.

    Of two runs with equal settings, seed and fold, the one whose folder sorts last is kept.
    Interpolations are compared unresolved, so `${seed}` does not split a group.
    """
    configs = [summary["config"] for summary in runs.values()]
    keys = [key for key in dict.fromkeys(k for each in configs for k in each) if is_compared(key)]
    if any(map(is_any_images, configs)):
        keys.append("data.root")
    varied = [
        key for key in keys if len({comparison_key(key, each.get(key)) for each in configs}) > 1
    ]
    groups: dict[tuple[Any, ...], list[Summary]] = {}
    for summary in runs.values():
        values = tuple(comparison_key(key, summary["config"].get(key)) for key in varied)
        groups.setdefault(values, []).append(summary)
    settings = [{key: found[0]["config"].get(key) for key in varied} for found in groups.values()]
    for key in varied:
        shorten_classes(settings, key)
    named_by = tuple(group_covarying_settings(settings)) if settings else ()
    return [
        RunGroup(each, {summary["repeat"]: summary for summary in found}, named_by)
        for each, found in zip(settings, groups.values(), strict=True)
    ]


def shorten_classes(settings: list[dict[str, Any]], key: str) -> None:
    """Leave the names of the classes of one key, unless classes of two modules have one name.

    Args:
        settings: the settings of each group; they are changed.
        key: the key of any setting.
    """
    paths = {each[key] for each in settings if isinstance(each[key], ClassPath)}
    if len({path.name for path in paths}) == len(paths):
        for each in settings:
            if isinstance(each[key], ClassPath):
                each[key] = each[key].name


def is_compared(key: str) -> bool:
    """Whether runs that differ in this setting are different configurations."""
    return not any(key == each or key.startswith(f"{each}.") for each in GROUP_EXCLUDES)


def is_any_images(config: dict[str, Any]) -> bool:
    """Whether a configuration is of images that only their folder names."""
    return config.get("data") == ANY_IMAGES


def comparison_key(key: str, value: Any) -> Any:
    """The key by which a value is compared with others.

    A limit of 1 is one batch, and 1.0 is all of them; a rate of 1 equals one of 1.0.
    """
    if isinstance(value, bool) or key.startswith(COUNT_OR_FRACTION):
        return type(value).__name__, repr(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def group_covarying_settings(settings: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Group the settings that change together: those that partition the groups identically.

    Only settings of one section are grouped.

    Args:
        settings: the settings of each group, all with the same keys.
    """
    found: dict[tuple[str | int, ...], list[str]] = {}
    for key in settings[0]:
        values = [comparison_key(key, each[key]) for each in settings]
        found.setdefault((key.partition(".")[0], *map(values.index, values)), []).append(key)
    # A class says more than the numbers that come with it.
    telling = [
        sorted(keys, key=lambda key: not any(isinstance(each[key], str) for each in settings))
        for keys in found.values()
    ]
    return {first: others for first, *others in telling}


def format_value(value: Any) -> str:
    """A setting as text; a number that a search has found, to six digits."""
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.6g}"
    return str(value)
