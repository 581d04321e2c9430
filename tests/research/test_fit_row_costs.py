"""The fit of the costs of dividing a row: its sums over paths are those over every path."""

from math import exp, log

import torch
from research.fit_row_costs import Lattice, fit, score_paths


def make_lattice() -> Lattice:
    """Three boundaries; two digits, 3 and 7, which could also be one 8, or be left out."""
    steps = [  # last, first, label, right; digits first
        (1, 0, 3, True),
        (1, 0, None, False),
        (2, 1, 7, True),
        (2, 1, None, False),
        (2, 0, 8, False),
        (2, 0, None, False),
    ]
    log_probs = torch.log_softmax(torch.linspace(-2, 2, 60).sin().view(6, 10), dim=1)
    is_digit = torch.tensor([label is not None for *_, label, _ in steps])
    features = torch.linspace(0, 1, 36).cos().view(6, 6)
    return Lattice(
        first=torch.tensor([first for _, first, *_ in steps]),
        ends=[slice(0, 2), slice(2, 6)],
        log_probs=log_probs * is_digit[:, None],
        is_digit=is_digit,
        features=features,
        label=torch.tensor([label or 0 for *_, label, _ in steps]),
        is_right=torch.tensor([right for *_, right in steps]),
    )


def enumerate_paths(row: Lattice, weights: torch.Tensor, right: bool) -> float:
    """The same sum, path by path and digit by digit."""
    total = 0.0
    ways = [(0, 2), (0, 3), (1, 2), (1, 3), (4,), (5,)]
    for way in ways:
        scores = [0.0]
        for step in way:
            base = float(row.features[step] @ weights[1:])
            classes = range(10) if row.is_digit[step] else (0,)
            if right:
                classes = (int(row.label[step]),) if row.is_right[step] else ()
            own = [base + float(weights[0] * row.log_probs[step, one]) for one in classes]
            scores = [score + one for score in scores for one in own]
        total += sum(exp(score) for score in scores)
    return log(total)


def test_the_sum_over_paths_is_that_of_every_path() -> None:
    row = make_lattice()
    weights = torch.tensor([1.3, -0.5, -1.0, 0.4, -0.7, 0.2, -2.0])
    for right in (False, True):
        expected = enumerate_paths(row, weights, right)
        assert abs(float(score_paths(row, weights, right)) - expected) < 1e-4


def test_a_fit_makes_the_right_paths_likelier() -> None:
    row = make_lattice()

    def likelihood(weights: torch.Tensor) -> float:
        return float(score_paths(row, weights, right=True) - score_paths(row, weights, right=False))

    found = [likelihood(fit([row], iterations)) for iterations in (1, 3, 20)]
    assert found[0] < found[1] < found[2] < 0
