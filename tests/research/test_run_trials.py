"""Trials of recipes: appended, skipped, resumed and made again by their own command."""

import shlex
import sys
from pathlib import Path

import pytest
from research.run_trials import TrialError
from research.trials import read_trials

from research import run_trials

SMALL = ["trainer=cpu", "data.train_size=300", "data.batch_size=100", "trainer.max_epochs=2"]


@pytest.mark.slow
def test_a_trial_is_appended_skipped_and_resumed(tmp_path: Path, mnist_root: Path) -> None:
    file, folder = tmp_path / "trials.jsonl", tmp_path / "runs"
    (trial,) = run_trials.run_trials("small", SMALL, [3], 2000, file, folder)
    assert read_trials(file) == [trial]
    assert trial["steps"] == 6
    assert trial["seed"] == 3
    assert len(trial["wrong"]) == round(2000 * (1 - trial["val_accuracy"] / 100))
    assert not [key for key in trial if "test" in key]

    assert run_trials.run_trials("small", [], [3], 2000, file, folder) == []
    with pytest.raises(TrialError, match="choose another name"):
        run_trials.run_trials("small", ["optim=sgd"], [4], 2000, file, folder)
    with pytest.raises(TrialError, match="no trial large"):
        run_trials.run_trials("large", [], [3], 2000, file, folder)
    file.unlink()
    with pytest.raises(TrialError, match="holds another run"):
        run_trials.run_trials("small", [*SMALL, "optim=sgd"], [3], 2000, file, folder)

    # Killed after its last checkpoint: the run goes on, and ends in the same weights.
    (folder / "small_2000_3" / "summary.json").unlink()
    (resumed,) = run_trials.run_trials("small", SMALL, [3], 2000, file, folder)
    differing = {key for key in trial if trial[key] != resumed[key]}
    assert differing <= {"training_seconds"}


@pytest.mark.slow
def test_the_command_of_a_trial_makes_it_again(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "trials.jsonl"
    (trial,) = run_trials.run_trials("small", SMALL, [1], 2000, file, tmp_path / "runs")
    monkeypatch.setattr(run_trials, "TRIALS", tmp_path / "again.jsonl")
    monkeypatch.setattr(run_trials, "FOLDER", tmp_path / "others")
    _, _, module, *arguments = shlex.split(trial["command"])
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    run_trials.main()
    (again,) = read_trials(tmp_path / "again.jsonl")
    assert again["weights_sha256"] == trial["weights_sha256"]
    assert again["wrong"] == trial["wrong"]


def test_every_line_of_the_file_can_be_made_again_or_is_marked() -> None:
    for trial in read_trials():
        if trial.get("reproducible", True):
            arguments = shlex.split(trial["command"])
            assert arguments[:3] == ["python", "-m", "research.run_trials"]
            assert arguments[3] == trial["name"]
            assert arguments[4:-4] == trial["overrides"]
            assert arguments[-4:] == [
                "--seeds", str(trial["seed"]), "--held-out", str(trial["held_out"])
            ]  # fmt: skip
        else:
            assert "command" not in trial
