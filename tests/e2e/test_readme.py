"""The README's commands for training and for finished runs run, and the paths in it exist.

What resumes, reads pictures, opens a page or measures speed has tests of its own or none.
"""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.idx_files import write_idx_folder
from support.program import PROJECT, Command
from tiny_mnist.cli import app
from tiny_mnist.export.format import Tolerance
from tiny_mnist.runs.folder import RunFolder

README = (PROJECT / "README.md").read_text()
LINES = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("error:")
]
SETUP = [line for line in LINES if line and line[0] == "pip"]
TRAIN = [
    line[2:]
    for line in LINES
    if line[:2] == ["python", "train.py"] and not line[2].startswith("resume=")
]
"""Training commands; tests/reliability/ covers those that resume."""
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", README, re.DOTALL))
"""Files that the README asks the reader to write, by path."""
SHORT = [
    "trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
]  # fmt: skip


def test_the_two_lines_come_first_and_ci_runs_the_second() -> None:
    assert LINES[:2] == SETUP
    second = "pip install -e '.[dev]' && pytest"
    assert second in README
    ci = (PROJECT / ".ci" / "run").read_text().splitlines()
    assert f"{second} || exit 1" in ci
    assert "pytest -m slow" in ci


def test_no_command_is_of_an_unknown_kind() -> None:
    known = {"pip", "python", "tensorboard", "tiny-mnist"}
    assert {line[0] for line in LINES if line} == known


@pytest.mark.slow
@pytest.mark.parametrize("arguments", TRAIN, ids=" ".join)
def test_training_commands_run(
    command: Command, tmp_path: Path, arguments: list[str], request: pytest.FixtureRequest
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    if "data=fashion_mnist" in arguments:
        request.getfixturevalue("fashion")
    if "data=idx" in arguments:
        folder = write_idx_folder(tmp_path / "FOLDER")
        arguments = [part.replace("FOLDER", str(folder)) for part in arguments]
    bad = "optim.max_lr=-1" in arguments
    short = [] if bad or "debug=batch" in arguments else SHORT
    if "hydra/sweeper=optuna" in arguments:
        arguments = [part for part in arguments if "n_trials" not in part]
        short = [*SHORT, "hydra.sweeper.n_trials=2"]
    done = command(*arguments, *short, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == (1 if bad else 0), done.stderr
    shown = [line for line in README.splitlines() if line.startswith("error:")] if bad else []
    assert done.stderr.splitlines() == shown
    assert done.stdout.count("no checksum is known") == ("data=idx" in arguments), "said once"
    assert bad or list(tmp_path.rglob("summary.json"))


@pytest.mark.slow
def test_the_tools_for_finished_runs_know_the_readmes_commands(
    small_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What two short epochs leave undecided, eight bits decide otherwise.
    for name in ("onnx_format.INT8_TOLERANCE", "c.TOLERANCE"):
        monkeypatch.setattr(f"tiny_mnist.export.{name}", Tolerance())
    for line in LINES:
        # What reads pictures instead of a run has tests of its own.
        if line[:1] == ["tiny-mnist"] and line[1] not in ("predict", "demo"):
            done = CliRunner().invoke(app, [line[1], str(small_run.path), *line[3:]])
            assert done.exit_code == 0, done.output


def test_every_path_in_the_readme_exists() -> None:
    (tree,) = re.findall(r"```\n(train\.py .*?)```", README, re.DOTALL)
    below = ""
    for line in tree.splitlines():
        name = line.split()[0]
        below = below if line.startswith(" ") else name
        path = PROJECT / (f"{below}{name}" if line.startswith(" ") else name)
        assert path.exists(), path
    for name in re.findall(r"`((?:src|configs|docs)/[\w/.]+)`|\]\((docs/[^)]+)\)", README):
        assert (PROJECT / "".join(name)).exists(), name


@pytest.mark.parametrize("path", sorted((PROJECT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_every_path_in_a_document_exists(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(r"\b((?:src|configs|tests|examples|research|benchmarks)/[\w/.]+)", text):
        assert (PROJECT / name.rstrip(".")).exists(), name
    for link in re.findall(r"\]\(([^):#]+)\)", text):
        assert (path.parent / link).exists(), link


def test_every_extra_is_in_the_readmes_table() -> None:
    settings = (PROJECT / "pyproject.toml").read_text()
    section = settings.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, re.MULTILINE)
    assert sorted(extras) == sorted(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)), extras
