"""Damaged or hostile run folders are refused in one line, and no code in them is run."""

import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from support.program import SMALL, Done, run_program
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.network import load_network

Compose = Callable[..., DictConfig]
BAD = "bad checkpoints, each refused in one line or replaced by the one before; no code was run"
FOREIGN = "configurations of strangers, each refused in one line; nothing was instantiated"


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def stranger(small_run: RunFolder, compose: Compose, tmp_path: Path) -> RunFolder:
    """A copy of a run that lacks nothing but its summary, with the configuration saved."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(small_run.path, run.path)
    run.summary.unlink()
    run.configuration.parent.mkdir(exist_ok=True)
    OmegaConf.save(compose(*SMALL), run.configuration)
    return run


def resume(run: RunFolder) -> Done:
    """Resume a run."""
    return run_program(f"resume={run.path}", folder=run.path.parent)


def check_refused(done: Done, message: str = "") -> None:
    """The program has ended with status 1 and one line that contains the message."""
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.find(b"network.block2") + 40_000] ^= 4  # in the bytes of a tensor
    path.write_bytes(content)


def write_text(path: Path) -> None:
    path.write_text("the checkpoint is on the other computer")


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_evil(path: Path) -> None:
    torch.save({"state_dict": Canary(path.parent / "canary")}, path)


def make_evil_old_style(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Canary(path.parent / "canary")}))


BAD_FILES = (truncate, flip_a_bit, write_text, make_empty, make_evil, make_evil_old_style)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", BAD_FILES)
def test_a_damaged_last_checkpoint_is_named_and_the_previous_one_is_used(
    stranger: RunFolder, small_run: RunFolder, spoil: Callable[[Path], None], count: Counter[str]
) -> None:
    spoil(stranger.last_checkpoint)
    done = resume(stranger)
    assert done.status == 0
    (warning,) = (line for line in done.stdout.splitlines() if "going on from the one" in line)
    assert str(stranger.last_checkpoint) in warning
    assert stranger.metrics.read_bytes() == small_run.metrics.read_bytes()
    assert not list(stranger.path.rglob("canary"))
    count[BAD] += 1


@pytest.mark.parametrize("spoil", BAD_FILES)
def test_a_damaged_checkpoint_without_a_previous_one_is_refused(
    stranger: RunFolder, spoil: Callable[[Path], None], count: Counter[str]
) -> None:
    stranger.previous_checkpoint.unlink()
    spoil(stranger.last_checkpoint)
    check_refused(resume(stranger), "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt"):
        load_network(stranger)
    assert not list(stranger.path.rglob("canary"))
    count[BAD] += 1


def wider(checkpoint: dict[str, Any]) -> None:
    checkpoint["hyper_parameters"]["model"]["width"] = 16


def enormous(checkpoint: dict[str, Any]) -> None:
    checkpoint["hyper_parameters"]["model"]["width"] = 10**6


def without_state(checkpoint: dict[str, Any]) -> None:
    del checkpoint["loops"], checkpoint["optimizer_states"]


def without_a_layer(checkpoint: dict[str, Any]) -> None:
    del checkpoint["state_dict"]["network.head.1.weight"]


def epochs_of_text(checkpoint: dict[str, Any]) -> None:
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] = "one"


def of_text(checkpoint: dict[str, Any]) -> None:
    checkpoint["hyper_parameters"] = "none"


@pytest.mark.parametrize(
    "change", [wider, enormous, without_state, without_a_layer, epochs_of_text, of_text]
)
def test_a_checkpoint_of_something_else_is_refused(
    stranger: RunFolder, change: Callable[[dict[str, Any]], None], count: Counter[str]
) -> None:
    checkpoint = torch.load(stranger.last_checkpoint, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, stranger.last_checkpoint)
    done = resume(stranger)
    check_refused(done, "last.ckpt ")
    assert "is of another" in done.stderr or "does not fit" in done.stderr
    count[BAD] += 1


@pytest.mark.parametrize(
    "evil",
    [
        "model: {_target_: os.system}",
        "trainer: {logger: {_target_: pathlib.Path.touch, self: canary}}",
        "trainer: {callbacks: [{_target_: pathlib.Path.touch}]}",
        "optim: {optimizer: {lr: {_target_: pathlib.Path.touch}}}",
        "optim: {scheduler: {verbose: {_target_: pathlib.Path.touch}}}",
        "optim: {scheduler: {_target_: torch.optim.lr_scheduler.LambdaLR}}",
        "trainer: {_args_: [1]}",
        "trainer: {_partial_: true}",
        "data: {root: {_target_: pathlib.Path.touch}}",
        "data: {_target_: builtins.eval}",
        "seed: !!python/object/apply:pathlib.Path.touch [canary]",
        "seed: ${oc.env:HOME}",
        "seed: ${no.such.resolver:1}",
        "seed: [",
        "[1, 2]",
        "\x00",
        "seed: &a [*a]",
        "tiny",
    ],
)
def test_a_configuration_from_a_stranger_instantiates_nothing_foreign(
    stranger: RunFolder, evil: str, tmp_path: Path, count: Counter[str]
) -> None:
    try:
        changed = OmegaConf.merge(OmegaConf.load(stranger.configuration), OmegaConf.create(evil))
        OmegaConf.save(changed, stranger.configuration)
    except Exception:  # what is not even YAML stands alone
        stranger.configuration.write_text(evil)
    check_refused(resume(stranger))
    assert not list(tmp_path.rglob("canary"))
    count[FOREIGN] += 1
