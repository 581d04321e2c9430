"""A resumed run trains with the threads of its checkpoint, or says that it does not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from support.program import SMALL
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.environment import (
    describe_environment,
    flushing_denormals,
    match_environment,
)
from tiny_mnist.training.lit_module import LitClassifier
from tiny_mnist.training.train import train


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_the_same_environment_needs_no_word() -> None:
    assert match_environment(describe_environment()) == []
    assert match_environment({}) == [], "an older checkpoint does not say"


def test_threads_are_set_to_those_of_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (line,) = match_environment(describe_environment() | {"threads": threads + 1})
    assert line == f"Using {threads + 1} threads, as when the run was begun"
    assert torch.get_num_threads() == threads + 1


@pytest.mark.slow
def test_a_resumed_run_leaves_the_next_one_its_threads(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run = RunFolder(tmp_path)
    config = compose(*SMALL, "trainer.max_epochs=1", "trainer.limit_val_batches=1")
    run.configuration.parent.mkdir()
    OmegaConf.save(config, run.configuration)
    torch.set_num_threads(threads + 1)
    train(config, tmp_path)
    torch.set_num_threads(threads)
    run.summary.unlink()
    train(config, tmp_path, resume=True)
    assert run.read_summary()["threads"] == threads + 1
    assert torch.get_num_threads() == threads


def halve_smallest() -> float:
    """Half of the smallest normal number, which is 0 where denormal numbers are flushed."""
    return float(torch.tensor(torch.finfo(torch.float32).tiny) / 2)


def test_training_flushes_denormal_numbers_and_leaves_the_callers_mode(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        LitClassifier, "on_train_start", lambda module: seen.append(halve_smallest())
    )
    assert halve_smallest() > 0
    train(compose(*SMALL, "trainer.max_epochs=1", "trainer.limit_val_batches=1"), tmp_path)
    assert seen == [0]
    assert halve_smallest() > 0
    with flushing_denormals():
        with flushing_denormals():
            pass
        assert halve_smallest() == 0, "the outer one has set it"
    assert halve_smallest() > 0


def test_threads_that_the_user_chose_stay_and_are_named(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    (line,) = match_environment(describe_environment() | {"threads": threads + 1})
    assert "OMP_NUM_THREADS" in line
    assert torch.get_num_threads() == threads


def test_other_versions_are_named() -> None:
    saved = describe_environment()
    saved["packages"]["torch"] = "1.0"
    (line,) = match_environment(saved)
    assert line.startswith("The run was begun with other versions: torch 1.0 → ")


@pytest.mark.parametrize("threads", [2**40, 10**6, 0, -1, True, "4", None])
def test_a_number_of_threads_that_cannot_be_is_ignored(threads: object) -> None:
    before = torch.get_num_threads()
    (line,) = match_environment(describe_environment() | {"threads": threads})
    assert line.startswith("Ignoring the checkpoint's number of threads, which is not from 1 to ")
    assert torch.get_num_threads() == before


def test_versions_of_a_stranger_are_shown_without_escape_sequences() -> None:
    (line,) = match_environment({"python": "\x1b[31m3.9", "packages": {"torch": "\x1b]0;x"}})
    assert line.isprintable()
