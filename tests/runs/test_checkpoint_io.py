"""Checkpoints are read as plain data, or refused."""

import pickle
from pathlib import Path

import pytest
import torch

from tiny_mnist.errors import UserError
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.recovery import latest_valid_checkpoint, roll_back


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "evil.ckpt"
    torch.save({"state_dict": Canary(canary)}, path)
    with pytest.raises(UserError, match=r"evil.ckpt cannot be read"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UserError, match=r"evil.ckpt cannot be read"):
        read_checkpoint(path)
    assert not canary.exists()
    pickle.loads(path.read_bytes())
    assert canary.exists(), "the canary would have sung"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_what_is_not_a_checkpoint_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_checkpoint(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(10_000)}}, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"last.ckpt cannot be read"):
        read_checkpoint(path)


def test_tensors_that_are_no_training_run_are_named(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save([torch.zeros(3)], path)
    with pytest.raises(UserError, match="has no state_dict"):
        read_checkpoint(path)


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
