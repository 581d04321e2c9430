"""Runs as one table: grouped over seeds and folds, ranked and tested."""

import itertools
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from tiny_mnist.comparison.grouping import RunGroup, Summary, group_by_settings
from tiny_mnist.comparison.pairing import compare_scores
from tiny_mnist.comparison.significance import holm
from tiny_mnist.errors import UserError
from tiny_mnist.system.atomic_files import write_csv

LEVEL = 0.05
"""Significance level of the corrected p-values."""
MIN_WIDE_COLUMNS = 100  # of a terminal that shows all columns of the table
MAX_NAMES = 4  # of configurations in a sentence


class Ranking:
    """Configurations from the best to the worst, with tests of their differences.

    They are ranked by mean accuracy on held-out images if every run has some, else on the test
    images. The same runs choose the best configuration and test it against the others, so p is
    corrected for the number of all pairs.
    Source: S. García, F. Herrera, An Extension on "Statistical Comparisons of Classifiers over
    Multiple Data Sets" for all Pairwise Comparisons, JMLR 9, 2008, section 2.

    Args:
        runs: the summaries of at least one run, by folder.

    Raises:
        UserError: none of them has an accuracy to rank by.
    """

    def __init__(self, runs: dict[Path, Summary]) -> None:
        measured = {
            path: summary
            for path, summary in runs.items()
            if not summary["val_images"] or summary["val_accuracy"] is not None
        }
        if not measured:
            raise UserError("no run was evaluated on the images that it held out: nothing to rank")
        self.unmeasured, runs = len(runs) - len(measured), measured
        held_out = all(summary["val_accuracy"] is not None for summary in runs.values())
        self.split: Literal["val", "test"] = "val" if held_out else "test"
        ranked = {
            path: summary
            for path, summary in runs.items()
            if summary[f"{self.split}_accuracy"] is not None
        }
        if not ranked:
            raise UserError("no run was evaluated on the test images: nothing to rank")
        self.untested, runs = len(runs) - len(ranked), ranked
        self.mixed = not held_out and any(s["val_accuracy"] is not None for s in runs.values())
        self.configurations = group_by_settings(runs)
        self.configurations.sort(key=lambda each: each.mean(self.split) or 0, reverse=True)
        self.left_out = len(runs) - sum(len(each.runs) for each in self.configurations)
        numbered = list(enumerate(self.configurations))
        pairs = {
            (at, other_at): found
            for (at, one), (other_at, other) in itertools.combinations(numbered, 2)
            if one.images == other.images
            and (found := compare_scores(one.scores(self.split), other.scores(self.split)))
        }
        self.pairs = len(pairs)
        corrected = dict(zip(pairs, holm([each.p for each in pairs.values()]), strict=True))
        of_first = [(0, other) for other in range(1, len(numbered))]
        self.compared = [pairs.get(pair) for pair in of_first]
        self.p = [corrected.get(pair) for pair in of_first]

    @property
    def has_folds(self) -> bool:
        """Whether any run is one fold of a cross-validation."""
        return any(each.folds for each in self.configurations)

    @property
    def first(self) -> RunGroup:
        """The best configuration."""
        return self.configurations[0]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each configuration, the best first; accuracies in percent."""
        return [
            {
                "rank": rank,
                **each.settings,
                "runs": len(each.runs),
                "seeds": " ".join(map(str, each.seeds)),
                **({"folds": " ".join(map(str, each.folds))} if self.has_folds else {}),
                "ranked_on": self.split,
                **spread_columns(list(each.scores(self.split).values())),
                "test_accuracy_mean": each.mean("test"),
                "training_seconds_mean": mean(s["training_seconds"] for s in each.runs.values()),
                "p": p,
            }
            for rank, (each, p) in enumerate(
                zip(self.configurations, [None, *self.p], strict=True), start=1
            )
        ]

    def table(self, width: int) -> Table:
        """The rows for the terminal.

        Args:
            width: the width of the terminal in columns; below 100, smallest, largest and seconds
                are left out, so that the settings can be read.
        """
        is_wide = width >= MIN_WIDE_COLUMNS
        names = [each.name for each in self.configurations]
        table = Table(box=None, pad_edge=False)
        table.add_column("Rank", justify="right", no_wrap=True)
        longest = max(map(len, [*names, "Settings"]))
        table.add_column("Settings", overflow="fold", min_width=min(longest, width // 3))
        split = "Validation" if self.split == "val" else "Test"
        extra = ("Min", "Max", "Seconds") if is_wide else ()
        accuracy = f"{split} accuracy (%)" if is_wide else f"{split} (%)"
        for column in ("Runs", accuracy, *extra, "p"):
            table.add_column(column, justify="right", no_wrap=True)
        for group, name, row in zip(self.configurations, names, self.rows(), strict=True):
            scores = list(group.scores(self.split).values())
            more = (
                f"{min(scores):.2f}", f"{max(scores):.2f}", f"{row['training_seconds_mean']:.1f}",
            )  # fmt: skip
            table.add_row(
                str(row["rank"]), escape(name), str(row["runs"]), format_mean_std(scores),
                *(more if is_wide else ()), "" if row["p"] is None else f"{row['p']:.3g}",
            )  # fmt: skip
        return table

    def notes(self) -> list[str]:
        """Which images were used, and whether the differences are more than noise."""
        return [*self.images(), *self.verdict()]

    def images(self) -> list[str]:
        """Which images the ranking used."""
        notes = []
        if self.split == "val":
            scores = list(self.first.scores("test").values())
            of = " of the first" if len(self.configurations) > 1 else ""
            tested = f"{format_mean_std(scores)} %" if scores else "not measured"
            notes.append(
                "Accuracies are on held-out training images; nothing was selected on the test "
                f"images. Test accuracy{of}: {tested}."
            )
        elif len(self.configurations) > 1:
            notes.append(
                "Ranked on the test images: fine to report, not to choose by; to choose, train "
                "with data.val_size=5000."
            )
        runs = [summary for each in self.configurations for summary in each.runs.values()]
        counts = {run["test_images"] for run in runs} - {0.0}  # 0: an old summary without it
        if self.split == "test" and len(counts) > 1:
            numbers = ", ".join(f"{count:,.0f}" for count in sorted(counts))
            notes.append(f"Runs were tested on different numbers of images ({numbers}).")
        if self.mixed:
            notes.append("Some runs held images out and some did not: all are compared on test.")
        if self.unmeasured:
            notes.append(
                f"{self.unmeasured} run(s) held images out and were not evaluated on them after "
                "the last epoch: left out."
            )
        if self.untested:
            notes.append(
                f"{self.untested} run(s) were not evaluated on the test images, on which others "
                "are compared: left out."
            )
        if self.left_out:
            repeated = "seed and fold" if self.has_folds else "a seed"
            notes.append(f"{self.left_out} run(s) that repeat {repeated} are counted once.")
        return [*notes, *self.cross_validation()]

    def cross_validation(self) -> list[str]:
        """Of how many folds and seeds the means are, and which configurations lack folds."""
        notes = []
        sizes = {
            (len(each.folds), len(each.seeds), len(each.runs))
            for each in self.configurations
            if each.folds
        }
        for folds, seeds, runs in sorted(sizes):
            over = f"{folds} folds and {seeds} seeds" if seeds > 1 else f"{folds} folds"
            notes.append(f"Mean ± standard deviation over {over} ({runs} runs).")
        for each in self.configurations:
            present = {repeat.fold for repeat in each.runs if repeat.fold}
            missing = set(range(max((fold.num_folds for fold in present), default=0))) - {
                *each.folds
            }
            if missing:
                lacking = " ".join(map(str, sorted(missing)))
                notes.append(f"Not all images are held out: {each.name} lacks fold {lacking}.")
        return notes

    def verdict(self) -> list[str]:
        """Whether the first is better than the others by more than noise, by which test."""
        if len(self.configurations) == 1:
            return []
        tests = sorted({found.test for found in self.compared if found is not None})
        if not tests and self.has_folds:
            return ["No two configurations have several folds in common: nothing to compare."]
        if not tests and len({each.images for each in self.configurations}) > 1:
            return ["Runs on different images are not compared."]
        if not tests:
            return ["Too few runs to compare with the first: take more seeds."]
        surest = min(filter(None, self.compared), key=lambda found: found.smallest)
        unit = surest.unit
        tested = [
            (other.name, found.difference, p)
            for other, found, p in zip(self.configurations[1:], self.compared, self.p, strict=True)
            if found is not None and p is not None
        ]
        worse = [name for name, difference, p in tested if p <= LEVEL and difference > 0]
        # The first has the best mean of all its runs, and yet may lose on the seeds of both.
        better = [name for name, difference, p in tested if p <= LEVEL and difference <= 0]
        equal = [name for name, _, p in tested if p > LEVEL]
        correction = (
            f", Holm-corrected for all {self.pairs} pairs, as the first was chosen by these runs"
            if self.pairs > 1
            else ""
        )
        notes = [f"p: {' and '.join(tests)} against the first, two-sided{correction}."]
        if worse:
            notes.append(
                f"More than noise (p ≤ {LEVEL}): the first is better than {join_names(worse)}."
            )
        if better:
            notes.append(
                f"On the {unit} that both have, these are better than the first (p ≤ {LEVEL}): "
                f"{join_names(better)}."
            )
        if equal:
            notes.append(f"Cannot be told from the first (p > {LEVEL}): {join_names(equal)}.")
        smallest = self.pairs * surest.smallest
        if smallest > LEVEL:
            needed = math.ceil(math.log2(2 * self.pairs / LEVEL))
            notes.append(
                f"So few {unit} cannot show a difference: p cannot fall below "
                f"{min(1, smallest):.3g}; {needed} {unit} each can."
            )
        return notes

    def write_csv(self, path: Path) -> None:
        """Write the rows as a table."""
        rows = self.rows()
        write_csv(path, rows[0], rows)


def spread_columns(accuracies: list[float]) -> dict[str, float | None]:
    """Mean, sample deviation, smallest and largest of some accuracies, as columns."""
    return {
        "accuracy_mean": mean(accuracies),
        "accuracy_sd": stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracy_min": min(accuracies),
        "accuracy_max": max(accuracies),
    }


def format_mean_std(values: list[float]) -> str:
    """Mean ± standard deviation of a sample; the mean alone for one value."""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}"


def join_names(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return "; ".join(names[:MAX_NAMES]) + more
