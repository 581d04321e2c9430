"""Several runs as one table."""

import csv
import io
import json
import time
from itertools import product
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tiny_mnist.cli import app
from tiny_mnist.comparison.grouping import (
    Repeat,
    find_runs,
    group_by_settings,
    group_covarying_settings,
)
from tiny_mnist.comparison.pairing import compare_scores
from tiny_mnist.comparison.ranking import Ranking, format_mean_std
from tiny_mnist.errors import UserError


def finished(
    folder: Path,
    seed: int,
    test: float | None = 99.5,
    val: float | None = None,
    data: dict[str, object] | None = None,
    images: int = 10_000,
    **optim: object,
) -> None:
    folder.mkdir(parents=True)
    summary = {"test_accuracy": test, "test_images": images, "training_seconds": 1}
    if val is not None:
        summary |= {"val_accuracy": val, "val_images": 5000}
    data = {"root": str(folder), "seed": "${seed}", **(data or {})}
    config = {"seed": seed, "checkpoint_every": seed, "optim": optim, "data": data}
    (folder / "summary.json").write_text(json.dumps({**summary, "config": config}))


def by_seed(scores: dict[int, float]) -> dict[Repeat, float]:
    return {Repeat(seed): score for seed, score in scores.items()}


def ranking(folder: Path) -> Ranking:
    return Ranking(find_runs([folder]))


def test_finds_runs_at_any_depth_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "sweep" / "0", seed=0)
    finished(tmp_path / "sweep" / "1", seed=1)
    (tmp_path / "sweep" / "unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    runs = find_runs([tmp_path, Path("sweep")])
    assert [summary["seed"] for summary in runs.values()] == [0, 1]


def test_only_runs_that_differ_in_the_seed_alone_are_averaged(tmp_path: Path) -> None:
    finished(tmp_path / "a", seed=0, max_lr=0.75, scheduler={"anneal_strategy": "cos"})
    finished(tmp_path / "b", seed=1, max_lr=0.75, scheduler={"anneal_strategy": "cos"})
    finished(tmp_path / "c", seed=0, max_lr=0.5, scheduler={"anneal_strategy": "cos"})
    finished(tmp_path / "d", seed=2, max_lr=0.5, scheduler={"anneal_strategy": "linear"})
    found = group_by_settings(find_runs([tmp_path]))
    assert {each.name: each.seeds for each in found} == {
        "optim.max_lr=0.75 optim.scheduler.anneal_strategy=cos": [0, 1],
        "optim.max_lr=0.5 optim.scheduler.anneal_strategy=cos": [0],
        "optim.max_lr=0.5 optim.scheduler.anneal_strategy=linear": [2],
    }


def test_markup_in_settings_is_printed_unchanged(tmp_path: Path) -> None:
    """Neither as Rich's markup nor as escape sequences of the terminal."""
    finished(tmp_path / "a", seed=0, note="[/x]\x1b]0;title\x07")
    finished(tmp_path / "b", seed=0, note="[bold]b")
    done = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert r"optim.note=[/x]\x1b]0;title\x07" in done.output
    assert "optim.note=[bold]b" in done.output
    for seed in (1, 2):
        finished(tmp_path / f"a{seed}", seed=seed, note="[/x]\x1b]0;title\x07")
        finished(tmp_path / f"b{seed}", seed=seed, note="[bold]b", test=99)
    done = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output


def test_settings_that_only_some_runs_have_are_shown_for_those(tmp_path: Path) -> None:
    finished(tmp_path / "a", seed=0, optimizer={"_target_": "torch.optim.Adagrad"})
    finished(tmp_path / "b", seed=0, optimizer={"_target_": "torch.optim.SGD", "momentum": 0.9})
    found = group_by_settings(find_runs([tmp_path]))
    assert sorted(each.name for each in found) == [
        "optim.optimizer=Adagrad", "optim.optimizer=SGD",
    ]  # fmt: skip


def test_classes_of_one_name_in_two_modules_are_different(tmp_path: Path) -> None:
    for module in ("mine", "yours"):
        optimizer = {"_target_": f"{module}.Fast"}
        finished(tmp_path / module, seed=0, optimizer=optimizer, scheduler={"_target_": "a.Same"})
    found = group_by_settings(find_runs([tmp_path]))
    assert sorted(each.name for each in found) == [
        "optim.optimizer=mine.Fast", "optim.optimizer=yours.Fast",
    ]  # fmt: skip


def test_repeated_seed_counts_once(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        finished(tmp_path / name, seed=seed)
    found = ranking(tmp_path)
    assert len(found.first.runs) == 2
    assert "1 run(s) that repeat a seed are counted once." in found.notes()


def test_ranks_on_held_out_images_where_all_runs_have_them(tmp_path: Path) -> None:
    for lr, seed in product((0.3, 0.75), (0, 1)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=99 - lr, val=98 + lr, max_lr=lr)
    found = ranking(tmp_path)
    assert [row["optim.max_lr"] for row in found.rows()] == [0.75, 0.3]
    assert (
        "nothing was selected on the test images. Test accuracy of the first: 98.250"
        in (found.notes()[0])
    )
    finished(tmp_path / "more", 0, test=99.9, max_lr=1.0)
    found = ranking(tmp_path)
    assert [row["optim.max_lr"] for row in found.rows()] == [1.0, 0.3, 0.75]
    assert "not to choose by" in found.notes()[0]
    assert "Some runs held images out" in found.notes()[1]


def test_runs_without_test_images_are_ranked_on_their_validation_images(tmp_path: Path) -> None:
    for lr, seed in product((0.3, 0.75), (0, 1)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=None, val=98 + lr, max_lr=lr)
    found = ranking(tmp_path)
    assert [row["test_accuracy_mean"] for row in found.rows()] == [None, None]
    assert "Test accuracy of the first: not measured." in found.notes()[0]
    found.write_csv(tmp_path / "sweep.csv")
    finished(tmp_path / "more", 0, test=99.9, max_lr=1.0)
    found = ranking(tmp_path)
    assert (found.split, found.untested) == ("test", 4)
    assert any("4 run(s) were not evaluated on the test images" in note for note in found.notes())
    finished(tmp_path / "none" / "0", 0, test=None)
    with pytest.raises(UserError, match="nothing to rank"):
        ranking(tmp_path / "none")


def test_a_note_tells_that_runs_were_tested_on_different_numbers_of_images(tmp_path: Path) -> None:
    finished(tmp_path / "a", seed=0)
    finished(tmp_path / "b", seed=1)
    assert not [note for note in ranking(tmp_path).notes() if "different numbers" in note]
    finished(tmp_path / "c", seed=2, images=500)
    assert (
        "Runs were tested on different numbers of images (500, 10,000)."
        in ranking(tmp_path).notes()
    )


def test_notes_say_whether_there_are_enough_seeds(tmp_path: Path) -> None:
    for lr, seed in product((0.3, 0.75), range(3)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=90 + 10 * lr + seed / 100, max_lr=lr)
    found = ranking(tmp_path)
    assert found.p == [0.25]
    assert "Cannot be told from the first (p > 0.05): optim.max_lr=0.3." in found.notes()
    assert "p cannot fall below 0.25; 6 seeds each can" in found.notes()[-1]
    for lr, seed in product((0.3, 0.75), range(3, 6)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=90 + 10 * lr + seed / 100, max_lr=lr)
    found = ranking(tmp_path)
    assert found.p == [2 / 64]
    assert found.notes()[-1] == (
        "More than noise (p ≤ 0.05): the first is better than optim.max_lr=0.3."
    )


def test_p_is_corrected_for_all_pairs(tmp_path: Path) -> None:
    """It was chosen by the runs that it is compared on: of pure noise, some pair looks sure."""
    for lr, seed in product((0.3, 0.5, 0.75), range(7)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=90 + 10 * lr + seed / 100, max_lr=lr)
    found = ranking(tmp_path)
    assert found.p == [3 * 2 / 128, 3 * 2 / 128], "not twice"
    assert "Holm-corrected for all 3 pairs, as the first was chosen" in " ".join(found.notes())


def test_a_run_not_evaluated_on_what_it_held_out_is_not_ranked(tmp_path: Path) -> None:
    finished(tmp_path / "a", 0, test=99.9, val=0.0, max_lr=0.3)
    path = tmp_path / "a" / "summary.json"
    path.write_text(path.read_text().replace("0.0,", "null,", 1))
    with pytest.raises(UserError, match="nothing to rank"):
        ranking(tmp_path)
    finished(tmp_path / "b", 0, test=99.0, val=99.1, max_lr=0.5)
    found = ranking(tmp_path)
    assert (found.split, len(found.configurations)) == ("val", 1)
    assert "1 run(s) held images out and were not evaluated on them" in " ".join(found.notes())


def test_the_first_is_not_called_better_than_what_beats_it_on_common_seeds(tmp_path: Path) -> None:
    for seed in range(7):  # one seed more, and that a lucky one
        finished(tmp_path / f"a_{seed}", seed, test=99.0 if seed == 6 else 90.0, max_lr=0.3)
    for seed in range(6):
        finished(tmp_path / f"b_{seed}", seed, test=91.0, max_lr=0.75)
    found = ranking(tmp_path)
    assert found.first.settings["optim.max_lr"] == 0.3
    notes = " ".join(found.notes())
    assert "these are better than the first (p ≤ 0.05): optim.max_lr=0.75" in notes
    assert "the first is better" not in notes


def test_runs_are_paired_by_seed_where_seeds_match() -> None:
    assert compare_scores(by_seed({0: 1.0}), by_seed({1: 2.0})) is None
    paired = compare_scores(by_seed({0: 1.0, 1: 2.0}), by_seed({0: 0.9, 1: 1.9}))
    assert paired is not None
    assert ("paired" in paired.test, paired.p, paired.smallest) == (True, 0.5, 0.5)
    groups = compare_scores(by_seed({0: 1.0, 1: 2.0}), by_seed({2: 3.0, 3: 4.0}))
    assert groups is not None
    assert ("paired" in groups.test, groups.p) == (False, pytest.approx(1 / 3))


def test_the_csv_has_the_rows_of_the_table(tmp_path: Path) -> None:
    for lr, seed in product((0.3, 0.75), (0, 1)):
        finished(tmp_path / f"{lr}_{seed}", seed, val=98 + lr + seed, max_lr=lr)
    ranking(tmp_path).write_csv(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["rank"], first["optim.max_lr"], first["runs"], first["seeds"]) == (
        "1", "0.75", "2", "0 1",
    )  # fmt: skip
    assert float(first["accuracy_mean"]) == pytest.approx(99.25)
    assert float(second["accuracy_sd"]) == pytest.approx(0.5**0.5)
    assert (first["p"], float(second["p"])) == ("", 0.5)


def test_mean_and_sample_deviation_are_formatted() -> None:
    assert format_mean_std([99.5, 99.7]) == "99.600 ± 0.141"
    assert format_mean_std([99.5]) == "99.500"


def test_missing_runs_and_invalid_summaries_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        find_runs([tmp_path])
    for content in ("{", "[]", "{}"):
        (tmp_path / "summary.json").write_text(content)
        with pytest.raises(UserError, match=r"summary\.json (is not|does not hold)"):
            find_runs([tmp_path])


def test_settings_of_a_group_that_change_together_share_a_panel(tmp_path: Path) -> None:
    for name, rate in product(("Adagrad", "SGD"), (0.3, 0.75)):
        optimizer: dict[str, object] = {"_target_": f"torch.optim.{name}"}
        if name == "SGD":
            optimizer["momentum"] = 0.9
        finished(tmp_path / f"{name}{rate}", 0, max_lr=rate, optimizer=optimizer)
    found = group_covarying_settings([each.settings for each in ranking(tmp_path).configurations])
    assert found == {"optim.max_lr": [], "optim.optimizer": ["optim.optimizer.momentum"]}


def test_few_common_seeds_give_an_unpaired_test() -> None:
    """Seeds 0 to 9 near 99 % against 8 to 17 near 90 %."""
    found = compare_scores(
        by_seed({seed: 99 + seed / 100 for seed in range(10)}),
        by_seed({seed: 90 + seed / 100 for seed in range(8, 18)}),
    )
    assert found is not None
    assert "paired" not in found.test
    assert found.p < 0.001


def test_one_batch_and_all_batches_are_different_configurations(tmp_path: Path) -> None:
    for name, limit in (("one", 1), ("all", 1.0)):
        finished(tmp_path / name, 0)
        path = tmp_path / name / "summary.json"
        summary = json.loads(path.read_text())
        summary["config"]["trainer"] = {"limit_train_batches": limit}
        path.write_text(json.dumps(summary))
    names = {each.name for each in group_by_settings(find_runs([tmp_path]))}
    assert names == {"trainer.limit_train_batches=1", "trainer.limit_train_batches=1.0"}


@pytest.mark.parametrize("width", [60, 70, 80, 120])
def test_the_table_shows_settings_and_accuracies_whole(tmp_path: Path, width: int) -> None:
    for lr, seed in product((0.3, 0.75), range(2)):
        finished(tmp_path / f"{lr}_{seed}", seed, test=98.76 + lr + seed / 10, max_lr=lr)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(ranking(tmp_path).table(width))
    text = console.export_text()
    assert "optim.max_lr=0.75" in text.split()
    assert f"{99.56:.3f} ± 0.071" in text


def test_ranking_many_configurations_of_many_seeds_takes_seconds(tmp_path: Path) -> None:
    for lr, seed in product(range(24), range(20)):
        finished(tmp_path / f"{lr}_{seed}", 100 * lr + seed, test=70 + lr + seed / 100, max_lr=lr)
    started = time.process_time()
    assert len(ranking(tmp_path).rows()) == 24
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("test_accuracy", "NaN"), ("test_accuracy", "1e999"), ("test_accuracy", '"high"'),
        ("test_accuracy", "9" * 400), ("test_accuracy", "true"), ("training_seconds", "-1"),
        ("config", "[" * 100_000), ("config", '{"seed": 1e999}'), ("config", '{"seed": "x"}'),
        ("config", "[]"), ("config", '{"seed": ' + "9" * 5000 + "}"),
    ],
)  # fmt: skip
def test_a_hostile_summary_is_refused_in_one_line(tmp_path: Path, key: str, value: str) -> None:
    content = {"test_accuracy": "99", "training_seconds": "1", "config": '{"seed": 0}'}
    text = ", ".join(f'"{name}": {given}' for name, given in {**content, key: value}.items())
    (tmp_path / "summary.json").write_text("{" + text + "}")
    with pytest.raises(UserError, match=r"is not (the summary of a run|valid JSON)") as caught:
        find_runs([tmp_path])
    assert len(str(caught.value).splitlines()) == 1
