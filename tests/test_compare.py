"""Several runs as one table."""

import json
from pathlib import Path

import pytest

from tiny_mnist.compare import find_runs, group_by_settings, spread
from tiny_mnist.errors import UserError


def finished(folder: Path, seed: int, **settings: object) -> None:
    folder.mkdir(parents=True)
    summary = {"seed": seed, "epochs": 1, "test_accuracy": 99.5, "training_seconds": 1}
    (folder / "summary.json").write_text(
        json.dumps(summary | {"settings": {"seed": seed, **settings}})
    )


def test_finds_runs_at_any_depth_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "sweep" / "0", seed=0)
    finished(tmp_path / "sweep" / "1", seed=1)
    (tmp_path / "sweep" / "unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    runs = find_runs([tmp_path, Path("sweep")])
    assert [summary["seed"] for summary in runs.values()] == [0, 1]


def test_only_runs_that_differ_in_the_seed_alone_are_averaged(tmp_path: Path) -> None:
    finished(tmp_path / "a", seed=0, max_lr=0.75, max_epochs=1)
    finished(tmp_path / "b", seed=1, max_lr=0.75, max_epochs=1)
    finished(tmp_path / "c", seed=0, max_lr=0.5, max_epochs=1)
    groups = group_by_settings(find_runs([tmp_path]))
    assert {name: len(group) for name, group in groups.items()} == {
        "max_lr=0.75": 2,
        "max_lr=0.5": 1,
    }


def test_spread_is_mean_and_sample_deviation() -> None:
    assert spread([99.5, 99.7]) == "99.600 ± 0.141"
    assert spread([99.5]) == "99.500"


def test_no_run_and_a_foreign_summary_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        find_runs([tmp_path])
    for content in ("{", "[]", "{}"):
        (tmp_path / "summary.json").write_text(content)
        with pytest.raises(UserError, match=r"summary\.json is not the summary of a run"):
            find_runs([tmp_path])
