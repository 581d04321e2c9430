"""Several runs as one table."""

import json
from pathlib import Path

import pytest

from tiny_mnist.compare import find_runs, spread
from tiny_mnist.errors import UserError


def finished(folder: Path, seed: int, accuracy: float) -> None:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"seed": seed, "test_accuracy": accuracy}))


def test_finds_runs_at_any_depth_once_and_gives_mean_and_sample_deviation(tmp_path: Path) -> None:
    finished(tmp_path / "sweep" / "0", seed=0, accuracy=99.5)
    finished(tmp_path / "sweep" / "1", seed=1, accuracy=99.7)
    (tmp_path / "sweep" / "unfinished").mkdir()
    runs = find_runs([tmp_path, tmp_path / "sweep"])
    assert [summary["seed"] for summary in runs.values()] == [0, 1]
    assert spread(runs) == "n = 2, test accuracy 99.600 ± 0.141 %, 99.50 to 99.70 %"


def test_one_run_has_no_deviation(tmp_path: Path) -> None:
    finished(tmp_path / "only", seed=0, accuracy=99.5)
    assert "±" not in spread(find_runs([tmp_path]))


def test_no_run_and_a_broken_summary_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        find_runs([tmp_path])
    finished(tmp_path / "broken", seed=0, accuracy=99.5)
    (tmp_path / "broken" / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json cannot be read"):
        find_runs([tmp_path])
