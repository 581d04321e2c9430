"""Rank and number of processes from the environment."""

import pytest

from tiny_mnist.system.processes import (
    RANK_VARIABLES,
    WORLD_SIZE_VARIABLES,
    env_world_size,
    is_rank_zero,
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of a launcher, unless a test sets them."""
    for name in (*RANK_VARIABLES, *WORLD_SIZE_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_single_process_is_rank_zero_of_one() -> None:
    assert is_rank_zero()
    assert env_world_size() == 1


@pytest.mark.parametrize("name", RANK_VARIABLES)
def test_any_rank_variable_above_zero_marks_another_process(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "0")
    assert is_rank_zero()
    monkeypatch.setenv(name, "1")
    assert not is_rank_zero()


@pytest.mark.parametrize("name", WORLD_SIZE_VARIABLES)
def test_world_size_is_read_from_the_launcher(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "4")
    assert env_world_size() == 4
