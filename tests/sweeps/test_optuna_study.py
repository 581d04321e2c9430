"""The study of a search: its storage, its trials, and what is searched."""

import sqlite3
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from support.program import PROJECT

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tiny_mnist.errors import UserError  # noqa: E402
from tiny_mnist.sweeps.optuna_study import (  # noqa: E402
    TrialQueue,
    check_params,
    corner_jobs,
    load_study,
    make_distribution,
)

SPACE = {"a": FloatDistribution(0.1, 2), "b": CategoricalDistribution(["x", "y"])}


def sweeper(**changes: object) -> DictConfig:
    """The node `hydra.sweeper` as it is shipped, with changes."""
    shipped = OmegaConf.load(PROJECT / "configs" / "hydra" / "sweeper" / "optuna.yaml")
    return OmegaConf.merge(shipped, changes)  # type: ignore[return-value]


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=tag(log,interval(0.1,2))", FloatDistribution(0.1, 2, log=True)),
        ("a=interval(5,20.0)", FloatDistribution(5, 20)),
        ("a=int(interval(0,4))", IntDistribution(0, 4)),
        ("a=range(32,129,32)", IntDistribution(32, 128, step=32)),
        ("a=adagrad,adamw", CategoricalDistribution(["adagrad", "adamw"])),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
    ],
)
def test_override_grammar_gives_distributions(text: str, expected: object) -> None:
    assert make_distribution(text, OverridesParser.create().parse_override(text)) == expected


def test_a_range_that_cannot_be_searched_is_refused() -> None:
    text = "a=tag(log,interval(0,1.0))"
    with pytest.raises(UserError, match="cannot be searched"):
        make_distribution(text, OverridesParser.create().parse_override(text))


def test_trials_at_the_ends_of_all_ranges_are_composed_first() -> None:
    space = {"a": FloatDistribution(0.1, 2), "b": CategoricalDistribution(["x", "y", "z"])}
    assert corner_jobs(space) == [{"a": 0.1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 2, "b": "z"}]


def test_stored_parameters_are_checked() -> None:
    check_params({"a": 0.5, "b": "x"}, SPACE)
    for hostile in ({"a": 3.0}, {"b": "../x"}, {"model._target_": "os.abort"}):
        with pytest.raises(ValueError, match=r"range|searched|not in"):
            check_params(hostile, SPACE)


def test_a_study_with_parameters_of_another_sweep_is_refused(tmp_path: Path) -> None:
    study = load_study(sweeper(), tmp_path)
    study.ask({"a": CategoricalDistribution(["../x"])})
    trials = TrialQueue(study, SPACE, tmp_path, sweeper().sampler, total=2)
    with pytest.raises(UserError, match=r"trial 0 of .* is not of this sweep"):
        trials.claim(1)


def test_a_trial_that_was_killed_before_it_had_parameters_gets_them(tmp_path: Path) -> None:
    load_study(sweeper(), tmp_path).ask()
    trials = TrialQueue(
        load_study(sweeper(), tmp_path), SPACE, tmp_path, sweeper().sampler, total=1
    )
    (trial,) = trials.claim(1)
    assert (trial.number, {*trial.params}) == (0, {"a", "b"})
    assert load_study(sweeper(), tmp_path).trials[0].params == trial.params
    trials.release()


def test_a_trial_is_handed_out_to_one_process_at_a_time(tmp_path: Path) -> None:
    def another(total: int) -> TrialQueue:
        return TrialQueue(
            load_study(sweeper(), tmp_path), SPACE, tmp_path, sweeper().sampler, total
        )

    first, second = another(3), another(3)
    assert [trial.number for trial in first.claim(2)] == [0, 1]
    assert [trial.number for trial in second.claim(2)] == [2]
    first.release()  # as if it had been killed
    assert [trial.number for trial in another(3).claim(3)] == [0, 1]


def test_studies_in_one_database_are_told_apart(tmp_path: Path) -> None:
    shared = sweeper(storage=f"sqlite:///{tmp_path}/shared.db")
    for folder in (tmp_path / "one" / "rate", tmp_path / "two" / "rate"):
        study = load_study(shared, make_folder(folder))
        assert study.trials == []
        study.ask()


def test_the_folder_of_a_study_may_be_renamed(tmp_path: Path) -> None:
    load_study(sweeper(), make_folder(tmp_path / "old")).ask()
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(load_study(sweeper(), tmp_path / "new").trials) == 1


def test_damaged_study_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but a text of some length " * 9)
    with pytest.raises(UserError, match=r"study.db cannot be used as a study"):
        load_study(sweeper(), tmp_path)


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_a_study_that_is_a_link_is_refused_and_nothing_is_written(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "other.db").touch()
    (tmp_path / f"study.db{suffix}").symlink_to("other.db")
    with pytest.raises(UserError, match="is a symbolic link"):
        load_study(sweeper(), tmp_path)
    assert (tmp_path / "other.db").read_bytes() == b""


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    study = load_study(sweeper(), tmp_path)
    (tmp_path / "other").write_text("x")
    for name in (".lock", ".0.lock"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to("other")
        with pytest.raises(UserError, match="is a symbolic link"):
            TrialQueue(study, SPACE, tmp_path, sweeper().sampler, total=1).claim(1)
        (tmp_path / name).unlink()
    assert (tmp_path / "other").read_text() == "x"


@pytest.mark.parametrize(
    "statement",
    [
        "update trial_values set value = '[/red]'",
        "update trial_values set value_type = 'NAN'",
        "update trial_values set value_type = 'INF_POS', value = null",
        "update trial_values set value = 101",
        "drop table trial_values",
        "update trials set number = 10000000000",
        "update trials set number = 1",
        "update trials set state = 'WAITING'",
        "update trials set state = 'ODD'",
        "update study_directions set direction = 'MINIMIZE'",
        "update trial_params set distribution_json = '{}'",
    ],
)
def test_invalid_study_content_is_reported_in_one_line(tmp_path: Path, statement: str) -> None:
    study = load_study(sweeper(), tmp_path)
    study.tell(study.ask(SPACE), 98.5)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(statement)
    with pytest.raises(UserError, match=r"study\.db cannot be used as a study") as refused:
        load_study(sweeper(), tmp_path)
    assert str(refused.value).isprintable()
