"""docs/your-own.md, walked through in an empty folder, and the package that pip installs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.idx_files import idx_bytes
from support.program import PROJECT, WAIT
from tiny_mnist.data import download

PAGE = (PROJECT / "docs" / "your-own.md").read_text()
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
"""Files that the page asks the reader to write, by path."""
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
PROGRAMS = {
    "tiny-mnist": "tiny_mnist.cli:app",
    "tiny-mnist-train": "tiny_mnist.launch.command:main",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def write_pictures(folder: Path) -> None:
    """A third of the pictures is mainly red, a third green, a third blue; of any size."""
    generator = np.random.default_rng(0)
    for split, number in (("train", 64), ("val", 16), ("test", 16)):
        for channel, name in enumerate(("red", "green", "blue")):
            (folder / split / name).mkdir(parents=True)
            for index in range(number):
                pixels = generator.integers(0, 128, (24, 40, 3), dtype=np.uint8)
                pixels[:, :, channel] += 80
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")


def write_idx(folder: Path, mnist_root: Path) -> None:
    """The first images of MNIST with the labels 0, 1 and 2, as four IDX files."""
    folder.mkdir()
    mnist = download.load_dataset(mnist_root)
    for name, images, labels, number in (
        ("train", mnist.train_images, mnist.train_labels, 900),
        ("t10k", mnist.test_images, mnist.test_labels, 300),
    ):
        chosen = (labels < 3).nonzero().flatten()[:number]
        for kind, values in (("images-idx3", images), ("labels-idx1", labels.byte())):
            (folder / f"{name}-{kind}-ubyte").write_bytes(idx_bytes(values[chosen].numpy()))


@pytest.fixture
def run(tmp_path: Path, mnist_root: Path) -> Run:
    """A function that runs one of the page's commands in the reader's folder."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    for name, target in PROGRAMS.items():  # as pip writes them
        module, _, function = target.partition(":")
        (scripts / name).write_text(f"from {module} import {function}\n{function}()\n")
    (tmp_path / "mine").mkdir()

    def run_command(*command: str) -> subprocess.CompletedProcess[str]:
        name, *arguments = command
        script = str(scripts / name) if name in PROGRAMS else name
        program = [sys.executable] + ([] if name == "python" else [script])
        return subprocess.run(
            [*program, *arguments], cwd=tmp_path / "mine", timeout=WAIT, check=False,
            capture_output=True, text=True,
            env={
                **os.environ, "MNIST_ROOT": str(mnist_root), "PYTHONPATH": str(PROJECT / "src"),
            },
        )  # fmt: skip

    return run_command


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_order_in_an_empty_folder(
    run: Run, tmp_path: Path, mnist_root: Path
) -> None:
    folder = tmp_path / "mine"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    write_pictures(folder / "pictures")
    write_idx(folder / "letters", mnist_root)
    for command in COMMANDS:
        if command[0] in ("pip", "tensorboard"):  # installed already; waits for a browser
            continue
        summaries = sorted(folder.glob("runs/2*/summary.json"))
        if "resume=latest" in command:
            summaries[-1].unlink()  # as if it had been killed after its last epoch
        newest = sorted(folder.glob("runs/2*/checkpoints/last.ckpt"), key=os.path.getmtime)[-1:]
        here = [str(newest[0]) if "2026-…" in part else part for part in command]
        done = run(*here)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if command[0] == "tiny-mnist":
            assert "ema" in done.stdout
    assert len(list(folder.glob("runs/sweeps/*/*/summary.json"))) == 4
    assert re.search(r"tensor\(\[\[0\.\d+, .*\]\]", done.stdout), "three probabilities"


def test_the_readers_files_are_few() -> None:
    own = {name: len(text.splitlines()) for name, text in FILES.items() if name != "use.py"}
    assert sorted(own) == [
        "conf/data/pictures.yaml", "conf/experiment/mine.yaml", "conf/model/mine.yaml", "mine.py",
    ]  # fmt: skip
    assert sum(own.values()) < 80


@pytest.mark.slow
def test_the_wheel_holds_all_configurations_and_trains(tmp_path: Path, mnist_root: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("src", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(PROJECT / name, source / name, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {path.relative_to(PROJECT) for path in (PROJECT / "configs").rglob("*.yaml")}
    assert {f"tiny_mnist/{path.as_posix()}" for path in configs} <= names
    assert "hydra_plugins/tiny_mnist_sweepers/__init__.py" in names

    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    done = subprocess.run(
        [sys.executable, site / "bin" / "tiny-mnist-train", "debug=batch", "hydra.run.dir=run"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=WAIT,
        env={**os.environ, "MNIST_ROOT": str(mnist_root), "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "summary.json").exists()
    assert (tmp_path / "run" / "train.log").exists()
