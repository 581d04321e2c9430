"""The plots of a search."""

from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from optuna.distributions import FloatDistribution  # noqa: E402
from optuna.trial import create_trial  # noqa: E402

from tiny_mnist.sweeps.optuna_report import plot_study  # noqa: E402
from tiny_mnist.sweeps.optuna_study import completed_trials  # noqa: E402


@pytest.mark.parametrize(
    ("accuracies", "has_importances"), [([98.0, 99.0], True), ([98.0, 98.0], False)]
)
def test_importances_are_drawn_where_accuracies_differ(
    tmp_path: Path, accuracies: list[float], has_importances: bool
) -> None:
    """Optuna warns on standard error if they do not, which the tests take for an error."""
    study = optuna.create_study(direction="maximize")
    space = {"a": FloatDistribution(0, 1)}
    for number, accuracy in enumerate(accuracies):
        study.add_trial(
            create_trial(
                params={"a": 0.5 * number},
                distributions=space,
                value=accuracy,
                intermediate_values={1: accuracy},
            )
        )
    plot_study(tmp_path, study, space, completed_trials(study.get_trials()))
    plots = {path.stem for path in tmp_path.glob("*.png")}
    assert {"history", "epochs", "slices"} <= plots
    assert ("importances" in plots) == has_importances
