"""Whether two groups of runs differ by more than their seeds do: exact permutation tests.

All rearrangements of a handful of runs that would be as likely without a difference are counted; of
many runs, a sample of them.
Permutation tests need no assumption about the distribution; a t-test assumes normality.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

MAX_EXACT_PAIRS = 16  # 65,536 rearrangements; of more, a sample is taken
NUM_SAMPLES = 20_000


def sign_flip_test(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences whose signs would be arbitrary if there were none.

    Exact up to 16 pairs; of the sign patterns of more, 20,000 are sampled. Source: R. A. Fisher,
    The Design of Experiments, 1935, section 21.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) <= MAX_EXACT_PAIRS:
        return two_sided_p(all_signs(len(values)) @ values, values.sum())
    signs = np.random.default_rng(0).choice((1, -1), size=(NUM_SAMPLES, len(values)))
    return two_sided_p(np.append(signs @ values, values.sum()), values.sum())


def smallest_sign_flip_p(pairs: int) -> float:
    """The smallest p of `sign_flip_test`, reached when all differences have the same sign."""
    return 2 / 2**pairs if pairs <= MAX_EXACT_PAIRS else 1 / (NUM_SAMPLES + 1)


@functools.cache  # a table compares many pairs of as many seeds
def all_signs(pairs: int) -> np.ndarray:
    """The 2ⁿ ways to give n differences a sign, one a row."""
    return np.array(list(itertools.product((1, -1), repeat=pairs)))


def permutation_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p of the difference of the means of two groups that are not paired.

    Exact up to 65,536 ways to share the values out; of more, 20,000 are sampled.
    """
    values = np.concatenate([one, other])
    values -= values.mean()
    sums = group_assignments(len(one), len(other)) @ values
    return two_sided_p(sums, values[: len(one)].sum())


@functools.lru_cache(maxsize=16)  # a table compares many pairs of groups of the same sizes
def group_assignments(first: int, second: int) -> np.ndarray:
    """Ways to choose the first group out of all values: 1 where a value belongs to it, one a row.

    The first row is the assignment that was observed.
    """
    total = first + second
    observed = np.zeros((1, total))
    observed[0, :first] = 1
    if math.comb(total, first) <= 2**MAX_EXACT_PAIRS:
        chosen = np.array(list(itertools.combinations(range(total), first)))
        shares = np.zeros((len(chosen), total))
        np.put_along_axis(shares, chosen, 1, axis=1)
        return shares
    random = np.random.default_rng(0)
    return np.vstack([observed, random.permuted(np.tile(observed, (NUM_SAMPLES, 1)), axis=1)])


def smallest_permutation_p(first: int, second: int) -> float:
    """The smallest p of `permutation_test` for groups of these sizes.

    It is reached when all values of one group exceed all of the other.
    """
    ways = math.comb(first + second, first)
    extreme = 2 if first == second else 1  # the groups may change places
    return extreme / ways if ways <= 2**MAX_EXACT_PAIRS else 1 / (NUM_SAMPLES + 1)


def two_sided_p(permuted: np.ndarray, observed: float) -> float:
    """Fraction of permuted statistics at least as extreme as the observed one."""
    return float(np.mean(np.abs(permuted) >= abs(observed) - 1e-9))  # equal ones may round apart


def holm(values: Sequence[float]) -> list[float]:
    """Holm-corrected p-values; controls the family-wise error rate.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected, largest = [0.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = largest
    return corrected
