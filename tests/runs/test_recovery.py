"""Rolling a run folder back to its newest valid checkpoint."""

from pathlib import Path

import pytest
import torch

from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import EVENT_PREFIX, EVENT_SUFFIX, RunFolder
from tiny_mnist.runs.recovery import event_file_sizes, latest_valid_checkpoint, roll_back

OWN = f"{EVENT_PREFIX}1.host.1.0{EVENT_SUFFIX}"


def test_all_processes_find_the_same_checkpoint_while_the_first_moves_a_damaged_one_away(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    assert latest_valid_checkpoint(run) is None
    torch.save({"state_dict": {}}, run.previous_checkpoint)
    run.last_checkpoint.write_bytes(b"damaged")
    before = latest_valid_checkpoint(run)
    assert run.last_checkpoint.exists(), "looking changes nothing"
    first = roll_back(run)
    assert not run.last_checkpoint.exists()
    assert before == first == latest_valid_checkpoint(run) == (
        run.previous_checkpoint, {"state_dict": {}},
    )  # fmt: skip
    run.previous_checkpoint.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        latest_valid_checkpoint(run)


def test_event_files_are_cut_to_their_sizes_at_the_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for folder in (run.path, run.path / "train", run.checkpoints):
        folder.mkdir(exist_ok=True)
    (run.path / OWN).write_bytes(b"12345")
    (run.path / "train" / OWN).write_bytes(b"12345")
    later = run.path / "train" / OWN.replace("1.0", "1.1")
    later.write_bytes(b"after the checkpoint")
    sizes = {OWN: 3, f"train/{OWN}": 9}
    torch.save({"state_dict": {}, "curves": sizes}, run.last_checkpoint)
    roll_back(run)
    assert event_file_sizes(run) == {OWN: 3, f"train/{OWN}": 5}


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_files_of_other_runs_and_programs_are_left_alone(
    tmp_path: Path, with_checkpoint: bool
) -> None:
    """As after `hydra.run.dir=runs`, with other runs below, killed before or after a checkpoint."""
    run = RunFolder(tmp_path / "runs")
    foreign = [
        run.path / "other" / OWN,
        run.path / "other" / "train" / OWN,
        run.path / "test" / OWN,  # a run that is called test
        run.path / "test" / ".hydra" / "config.yaml",
        run.path / f"{EVENT_PREFIX}1.host.1.0",
        run.path / "train" / f"{EVENT_PREFIX}1.host.1.0",
        run.path / ".thesis.docx.part",
        run.path / ".metrics.csv.part",
        run.path / "other" / ".metrics.csv.0123abcd.part",
        run.path / "other" / "metrics.csv",
    ]
    own = [
        run.path / OWN,
        run.path / ".metrics.csv.0123abcd.part",
        run.checkpoints / ".last.ckpt.0123abcd.part",
    ]
    for path in (*foreign, *own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    if with_checkpoint:
        torch.save({"state_dict": {}, "curves": {}}, run.last_checkpoint)
    roll_back(run)
    assert [path for path in foreign if path.read_bytes() != b"content"] == []
    assert [path for path in own if path.exists()] == []


@pytest.mark.parametrize(
    "name", [OWN, f"train/{OWN}", f"../victim/{OWN}", f"train/../../victim/{OWN}"]
)
def test_a_checkpoint_cannot_have_a_file_elsewhere_truncated(tmp_path: Path, name: str) -> None:
    run, victim = RunFolder(tmp_path / "run"), tmp_path / "victim" / OWN
    victim.parent.mkdir()
    victim.write_bytes(bytes(5000))
    (run.path / "train").mkdir(parents=True)
    run.checkpoints.mkdir()
    if ".." not in name:
        (run.path / name).symlink_to(victim)
    torch.save({"state_dict": {}, "curves": {name: 7}}, run.last_checkpoint)
    if ".." in name:
        roll_back(run)
    else:
        with pytest.raises(UserError, match="is a symbolic link"):
            roll_back(run)
    assert victim.stat().st_size == 5000
