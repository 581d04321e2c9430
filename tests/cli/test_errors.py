"""How errors and names are shown."""

from pathlib import Path

import pytest

from tiny_mnist.errors import UserError, display_path, format_error, printable
from tiny_mnist.extras import require


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs/plain [x] ü…", "runs/plain [x] ü…"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\t", r"a\nb\t"),
        ("\udcff", r"\udcff"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # writes from right to left
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_user_errors_become_one_line_without_control_characters() -> None:
    assert format_error(UserError("no\nrun \x1b[31m")) == r"no run \x1b[31m"
    assert format_error(FileNotFoundError(2, "No such file", "a\x07b")) == r"No such file: a\x07b"
    assert format_error(OSError(28, "No space left")) == "No space left"
    assert format_error(KeyError("a defect")) is None


def test_paths_below_the_working_directory_are_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_path(tmp_path / "runs" / "x") == Path("runs/x")
    assert display_path(tmp_path.parent) == tmp_path.parent


def test_an_extra_that_is_installed_is_not_asked_for() -> None:
    require("predict", "reading pictures")
