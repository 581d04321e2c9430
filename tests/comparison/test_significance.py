"""Permutation tests, against what can be counted by hand."""

import numpy as np
import pytest

from tiny_mnist.comparison import significance
from tiny_mnist.comparison.significance import holm, permutation_test, sign_flip_test


def test_the_smallest_p_of_pairs_is_two_in_all_ways_to_flip_signs() -> None:
    for n in (1, 3, 6):
        assert sign_flip_test([0.1] * n) == 2 / 2**n
    assert sign_flip_test([0.1, -0.1]) == 1


def test_signs_are_flipped_in_all_ways() -> None:
    # Of ±1 ±2 ±4, only ±(−1+2+4) and ±(1+2+4) are as far from 0 as 5.
    assert sign_flip_test([-1.0, 2.0, 4.0]) == 4 / 8


def test_groups_are_shared_out_in_all_ways() -> None:
    # Of the 20 ways, 2 and 8 have means as far apart.
    assert permutation_test([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx(0.1)
    assert permutation_test([1.0, 2.0, 5.0], [3.0, 4.0, 6.0]) == pytest.approx(0.4)


def test_a_sample_of_rearrangements_comes_near_the_exact_p(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = np.random.default_rng(0).normal((0.4, 0), 1, (7, 2)).T.tolist()
    exact = sign_flip_test(one), permutation_test(one, other)
    monkeypatch.setattr(significance, "COUNTED", 1)
    assert (sign_flip_test(one), permutation_test(one, other)) == pytest.approx(exact, abs=0.02)


def test_one_in_twenty_tests_of_no_difference_finds_one() -> None:
    values = np.random.default_rng(1).normal(size=(400, 8)).tolist()
    found = np.mean([sign_flip_test(row) <= 0.05 for row in values])
    assert found == pytest.approx(0.05, abs=0.03)


def test_many_comparisons_make_each_less_certain() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
