"""Commit and provenance of a run."""

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tiny_mnist.errors import UserError
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.runs import metadata
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.runs.metadata import collect_provenance, weights_sha256


def commit_all(folder: Path) -> str:
    """Make a repository of a folder, and give the hash of its one commit."""
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(folder))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_seen_from(file: Path) -> Any:
    """What `git_commit` says when the module lies at this path."""
    source = Path(metadata.__file__).read_text()
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(source)
    spec = importlib.util.spec_from_file_location("copy_of_metadata", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.git_commit()


def test_commit_names_this_projects_repository(tmp_path: Path) -> None:
    file = tmp_path / "src" / "tiny_mnist" / "runs" / "metadata.py"
    assert commit_seen_from(file) is None, "there is no repository yet"
    expected = commit_all(tmp_path)
    assert commit_seen_from(file) == expected
    file.write_text(file.read_text() + "# changed\n")
    assert commit_seen_from(file) == f"{expected}-dirty"


def test_commit_names_no_foreign_repository(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    commit_all(tmp_path)
    installed = tmp_path / "venv" / "lib" / "python3" / "site-packages" / "tiny_mnist" / "runs"
    assert commit_seen_from(installed / "metadata.py") is None
    untracked = tmp_path / "src" / "tiny_mnist" / "runs" / "metadata.py"
    assert commit_seen_from(untracked) is None


def test_a_summary_of_other_weights_is_not_believed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_summary({"weights_sha256": "0", "commit": "abc", "settings": {}})
    known = collect_provenance(run, TinyCNN())
    assert "commit" not in known
    assert known["parameters"] == 9594


def test_provenance_holds_plain_values_without_control_characters(tmp_path: Path) -> None:
    run, network = RunFolder(tmp_path / "a\x1b[31mb"), TinyCNN()
    run.path.mkdir()
    summary = {
        "weights_sha256": weights_sha256(network), "settings": {"a": "\x1b]0;title\x07"},
        "seed": {"nested": [1]}, "epochs": 3, "commit": "\x1b[2J",
    }  # fmt: skip
    run.summary.write_text(json.dumps(summary))
    known = collect_provenance(run, network)
    assert known["run"] == r"a\x1b[31mb"
    assert known["recipe"] == r"a=\x1b]0;title\x07"
    assert (known["epochs"], known["commit"]) == (3, r"\x1b[2J")
    assert "seed" not in known


@pytest.mark.parametrize("text", ["{}", '{"weights_sha256": "0", "settings": 3}', "[", "7"])
def test_a_file_that_is_no_summary_gets_one_line(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    run.summary.write_text(text)
    with pytest.raises(UserError, match=r"summary\.json"):
        collect_provenance(run, TinyCNN())
