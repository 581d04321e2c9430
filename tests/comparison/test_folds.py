"""Folds of a cross-validation are repeats of one configuration, and pairs are of one fold."""

import json
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import pytest

from tiny_mnist.comparison.grouping import find_runs
from tiny_mnist.comparison.plots import plot_sweep
from tiny_mnist.comparison.ranking import Ranking
from tiny_mnist.errors import UserError


def finished(
    folder: Path, seed: int, fold: int | None, val: float, lr: float = 0.75, **data: object
) -> None:
    """A run, by default of five folds."""
    folder.mkdir(parents=True)
    data = {"_target_": "tiny_mnist.data.MNISTDataModule", "fold": fold, "folds": 5} | data
    summary = {
        "test_accuracy": 99.0, "training_seconds": 1, "val_accuracy": val, "val_images": 12_000,
        "config": {"seed": seed, "optim": {"max_lr": lr}, "data": data},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))


def ranking(folder: Path) -> Ranking:
    return Ranking(find_runs([folder]))


def test_the_mean_is_over_the_folds_and_no_fold_is_a_setting(tmp_path: Path) -> None:
    values = [98.0, 98.2, 98.1, 98.7, 98.4]
    for fold, value in enumerate(values):
        finished(tmp_path / str(fold), 0, fold, value)
    found = ranking(tmp_path)
    (row,) = found.rows()
    assert (row["runs"], row["seeds"], row["folds"]) == (5, "0", "0 1 2 3 4")
    assert row["accuracy_mean"] == pytest.approx(mean(values))
    assert row["accuracy_sd"] == pytest.approx(stdev(values))
    assert found.first.settings == {}
    assert found.notes()[-1] == "Mean ± standard deviation over 5 folds (5 runs)."
    (axes,) = plot_sweep(found.configurations, "val").axes
    assert axes.get_xlabel() == "data.fold"


def test_folds_and_seeds_are_averaged_together(tmp_path: Path) -> None:
    for fold, seed in product(range(5), range(3)):
        finished(tmp_path / f"{fold}_{seed}", seed, fold, 98 + fold / 10 + seed / 100)
    found = ranking(tmp_path)
    (row,) = found.rows()
    assert (row["runs"], row["seeds"], row["folds"]) == (15, "0 1 2", "0 1 2 3 4")
    assert found.notes()[-1] == "Mean ± standard deviation over 5 folds and 3 seeds (15 runs)."


def test_pairs_are_of_one_fold_and_seed_and_the_seeds_of_a_fold_count_once(tmp_path: Path) -> None:
    """Folds differ much more than the recipes do: unpaired, nothing could be told."""
    for lr, fold, seed in product((0.3, 0.75), range(10), range(2)):
        value = 90 + fold + lr / 10 + seed / 1000
        finished(tmp_path / f"{lr}_{fold}_{seed}", seed, fold, value, lr, folds=10)
    found = ranking(tmp_path)
    assert found.p == [2 / 2**10], "ten folds, not twenty runs"
    notes = " ".join(found.notes())
    assert "paired by seed and fold" in notes
    assert "the first is better than optim.max_lr=0.3" in notes


def test_notes_say_that_five_folds_are_too_few(tmp_path: Path) -> None:
    for lr, fold in product((0.3, 0.75), range(5)):
        finished(tmp_path / f"{lr}_{fold}", 0, fold, 90 + fold + lr, lr)
    found = ranking(tmp_path)
    assert found.p == [2 / 2**5]
    assert (
        "So few folds cannot show a difference: p cannot fall below 0.0625; 6 folds each"
        in (found.notes()[-1])
    )


def test_the_seeds_of_a_single_fold_are_paired_as_those_of_one_split(tmp_path: Path) -> None:
    for lr, seed in product((0.3, 0.75), range(6)):
        finished(tmp_path / f"{lr}_{seed}", seed, 2, 90 + seed + lr, lr)
    found = ranking(tmp_path)
    assert found.p == [2 / 2**6]
    assert "optim.max_lr=0.3 lacks fold 0 1 3 4" in " ".join(found.notes())


@pytest.mark.parametrize("other", [{"fold_seed": 1}, {"folds": 3}, {"folds": None}])
def test_different_folds_are_never_compared(tmp_path: Path, other: dict[str, object]) -> None:
    for fold in range(3):
        finished(tmp_path / f"a_{fold}", 0, fold, 90 + fold)
        finished(tmp_path / f"b_{fold}", fold, fold if other != {"folds": None} else None,
                 95 + fold, **other)  # fmt: skip
    found = ranking(tmp_path)
    assert found.p == [None]
    assert "nothing to compare" in found.notes()[-1]


def test_runs_of_different_folds_are_not_paired(tmp_path: Path) -> None:
    for fold in range(4):
        finished(tmp_path / str(fold), 0, fold, 90.0, 0.3 if fold < 2 else 0.75)
    assert ranking(tmp_path).p == [None]


def test_other_images_are_another_group_and_not_compared(tmp_path: Path) -> None:
    idx = "tiny_mnist.data.IdxDataModule"
    for seed, root in product(range(6), ("kanji", "kana")):
        finished(tmp_path / f"{root}_{seed}", seed, None, 90.0 + len(root), folds=None,
                 _target_=idx, root=root)  # fmt: skip
    found = ranking(tmp_path)
    assert [each.name for each in found.configurations] == ["data.root=kanji", "data.root=kana"]
    assert found.p == [None]
    assert found.notes()[-1] == "Runs on different images are not compared."


def test_invalid_fold_in_a_summary_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "a", 0, 7, 90.0)
    with pytest.raises(UserError, match=r"data\.fold=7 is not one of 5"):
        ranking(tmp_path)
