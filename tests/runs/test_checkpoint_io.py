"""Checkpoints are read as plain data, or refused."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from tiny_mnist.errors import UserError
from tiny_mnist.runs.checkpoint_io import read_checkpoint


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


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": None},
        {"state_dict": [1]},
        {"state_dict": {"weight": 1}},
        {"state_dict": {3: torch.zeros(1)}},
        {"global_step": "1\ntouch X #"},
        {"global_step": -1},
        {"global_step": 1.5},
        {"epoch": True},
        {"epoch": 1 << 70},
        {"curves": ["a"]},
        {"curves": {"a": "7"}},
        {"curves": {"a": -7}},
        {"curves": {1: 7}},
        {"environment": [1]},
        {"environment": {"packages": "abc"}},
        {"callbacks": [1]},
        {"callbacks": {"EarlyStopping": 1}},
        {"loops": [1]},
        {"train_metrics": {"loss": 1}},
        {"optimizer_states": [1]},
        {"optimizer_states": {}},
        {"lr_schedulers": [{"_step_count": "x"}]},
        {"lr_schedulers": [{"last_epoch": 1.5}]},
        {"state_dict": {"weight": torch.zeros(1).expand(10**12)}},
        {"optimizer_states": [{"state": {0: {"sum": torch.zeros(1).expand(10**12)}}}]},
        {"optimizer_states": [(torch.eye(3).to_sparse(),)]},
    ],
)
def test_values_of_other_types_than_a_run_writes_are_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, **change}, path)
    with pytest.raises(UserError, match=r"last\.ckpt is not a checkpoint of a training") as refused:
        read_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_checkpoint_that_contains_itself_is_read(tmp_path: Path) -> None:
    content: dict[str, object] = {"state_dict": {}}
    content["self"] = content
    torch.save(content, tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["state_dict"] == {}


def repack(path: Path, compression: int = zipfile.ZIP_STORED, bomb: int = 0) -> None:
    """Write a checkpoint anew, with another compression and a part of zeros."""
    torch.save({"state_dict": {}}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(parts)).partition("/")[0]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        if bomb:
            archive.writestr(f"{folder}/data/9", bytes(bomb))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    repack(path)
    assert read_checkpoint(path) == {"state_dict": {}}, "the archive is otherwise good"
    repack(path, zipfile.ZIP_DEFLATED, bomb=100_000_000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="its parts are compressed"):
        read_checkpoint(path)


def test_an_archive_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    repack(path, bomb=1000)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")  # the last entry of the archive's table of contents
    content[at + 24 : at + 28] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="its parts exceed the file"):
        read_checkpoint(path)


def test_a_fifo_and_a_huge_sparse_file_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"last\.ckpt is not a regular file"):
        read_checkpoint(path)
    path.unlink()
    path.touch()
    os.truncate(path, 200 << 30)
    with pytest.raises(UserError, match=r"last\.ckpt has 214,748,364,800 bytes"):
        read_checkpoint(path)
