"""Permutation tests, against what can be counted by hand."""

import numpy as np
import pytest

from tiny_mnist.comparison import significance
from tiny_mnist.comparison.significance import (
    MAX_EXACT_PAIRS,
    NUM_SAMPLES,
    holm,
    permutation_test,
    sign_flip_test,
    smallest_sign_flip_p,
)


@pytest.mark.parametrize("pairs", [1, 3, 6, MAX_EXACT_PAIRS])
def test_smallest_sign_flip_p_of_counted_signs(pairs: int) -> None:
    assert sign_flip_test([0.1] * pairs) == smallest_sign_flip_p(pairs) == 2 / 2**pairs


def test_smallest_sign_flip_p_of_sampled_signs() -> None:
    # None of the sampled patterns has 20 equal signs.
    assert sign_flip_test([0.1] * 20) == smallest_sign_flip_p(20) == 1 / (NUM_SAMPLES + 1)


def test_opposite_differences_give_p_1() -> None:
    assert sign_flip_test([0.1, -0.1]) == 1


def test_sign_flip_test_counts_all_signs() -> None:
    # Of ±1 ±2 ±4, only ±(−1+2+4) and ±(1+2+4) are as far from 0 as 5.
    assert sign_flip_test([-1.0, 2.0, 4.0]) == 4 / 8


def test_permutation_test_counts_all_partitions() -> None:
    # Of the 20 ways, 2 and 8 have means as far apart.
    assert permutation_test([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx(0.1)
    assert permutation_test([1.0, 2.0, 5.0], [3.0, 4.0, 6.0]) == pytest.approx(0.4)


def test_sampled_p_is_close_to_exact_p(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = np.random.default_rng(0).normal((0.4, 0), 1, (7, 2)).T.tolist()
    exact = sign_flip_test(one), permutation_test(one, other)
    monkeypatch.setattr(significance, "MAX_EXACT_PAIRS", 1)
    assert (sign_flip_test(one), permutation_test(one, other)) == pytest.approx(exact, abs=0.02)


def test_false_positive_rate_is_5_percent() -> None:
    values = np.random.default_rng(1).normal(size=(400, 8)).tolist()
    found = np.mean([sign_flip_test(row) <= 0.05 for row in values])
    assert found == pytest.approx(0.05, abs=0.03)


def test_holm_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
