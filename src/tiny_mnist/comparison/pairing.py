"""Two groups of runs beside each other: which of their runs make pairs, and by which test."""

from dataclasses import dataclass
from statistics import mean

from tiny_mnist.comparison.grouping import Fold, Repeat
from tiny_mnist.comparison.significance import (
    MAX_EXACT_PAIRS,
    permutation_test,
    sign_flip_test,
    smallest_permutation_p,
    smallest_sign_flip_p,
)

PAIRED_SHARE = 0.8  # of all seeds and folds of two groups, those that both have


@dataclass(frozen=True)
class Comparison:
    """How likely noise alone makes two groups of runs differ as much.

    Args:
        test: the name of the test.
        difference: the mean of one group less that of the other, over the runs that are compared.
        p: the two-sided p-value, not corrected.
        smallest: the smallest p that so many runs can give.
        unit: the unit of the sample, "seeds" or "folds"; more of them allow a smaller p.
    """

    test: str
    difference: float
    p: float
    smallest: float
    unit: str = "seeds"


def compare_scores(one: dict[Repeat, float], other: dict[Repeat, float]) -> Comparison | None:
    """Compare accuracies by seed and fold.

    The test is paired by seed and fold if the groups have at least 80 % of them in common: a pair
    shares initial weights, order and images, but runs without a partner have no part in the test.
    If more would be left out, an unpaired test of all runs says more. Folds are only compared with
    the same folds, for some hold easier images than others.

    The seeds of a fold are evaluated on the same images, so their differences are not independent:
    the mean over the seeds of each fold is what is tested.

    Returns:
        None with one run on a side, or with folds of which too few are common.
    """
    common = sorted(one.keys() & other.keys())
    every = one.keys() | other.keys()
    if len(common) > 1 and len(common) >= PAIRED_SHARE * len(every):
        by_fold: dict[Fold | None, list[float]] = {}
        for repeat in common:
            by_fold.setdefault(repeat.fold, []).append(one[repeat] - other[repeat])
        if len(by_fold) > 1:
            differences, unit = [mean(found) for found in by_fold.values()], "folds"
        else:
            differences, unit = [one[repeat] - other[repeat] for repeat in common], "seeds"
        pair = "seed and fold" if unit == "folds" else "seed"
        kind = "exact" if len(differences) <= MAX_EXACT_PAIRS else "sampled"
        test = f"{kind} sign-flip test, paired by {pair},"
        p, smallest = sign_flip_test(differences), smallest_sign_flip_p(len(differences))
        return Comparison(test, mean(differences), p, smallest, unit)
    if any(repeat.fold for repeat in every) or min(len(one), len(other)) < 2:
        return None
    values = list(one.values()), list(other.values())
    difference = mean(values[0]) - mean(values[1])
    smallest = smallest_permutation_p(len(one), len(other))
    return Comparison("permutation test", difference, permutation_test(*values), smallest)
