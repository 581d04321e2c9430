"""A whole run of the default recipe, on all of MNIST, against the seed's own log."""

import csv
from pathlib import Path

import pytest

from conftest import Command

# From the seed's log: train loss, train accuracy and learning rate at epochs 1 and 10.
SEED = {
    1: {"train_loss": 0.226233, "train_accuracy": 92.945, "learning_rate": 0.1},
    10: {"train_loss": 0.031684, "train_accuracy": 98.993333, "learning_rate": 0.049657},
}
# Five times the deviation over seeds that was seen, so that only a change of recipe fails.
TOLERANCE = {"train_loss": 0.30, "train_accuracy": 0.015, "learning_rate": 1e-5}  # relative


@pytest.mark.slow
def test_the_default_run_follows_the_seeds_log(command: Command, tmp_path: Path) -> None:
    done = command("hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    assert list(rows) == list(range(1, 11))
    for epoch, wanted in SEED.items():
        found = {name: float(rows[epoch][name]) for name in wanted}
        assert found == {n: pytest.approx(v, rel=TOLERANCE[n]) for n, v in wanted.items()}
    assert float(rows[10]["test_accuracy"]) >= 99.3, "the seeds average 99.5 with deviation 0.05"
