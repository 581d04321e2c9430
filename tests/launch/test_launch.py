"""How the program starts, resumes and ends: in one line, leaving nothing where it was refused."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from support.program import PROJECT, SMALL, WAIT, Command
from tiny_mnist import extras
from tiny_mnist.config.loading import run_settings
from tiny_mnist.errors import UserError
from tiny_mnist.launch.program import report_finished
from tiny_mnist.launch.resolvers import run_folder, sweep_folder, sweep_mode
from tiny_mnist.launch.resume import (
    describe_prolonging,
    describe_result,
    load_resume_config,
    with_overrides,
)
from tiny_mnist.launch.stop import resuming_hint
from tiny_mnist.launch.suggestions import suggest
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps.job import resume_override


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ckpt_path=x"], "there is no setting ckpt_path: use resume=RUN_FOLDER"),
        (["optim.mx_lr=3"], "there is no setting optim.mx_lr; did you mean optim.max_lr?"),
        (["optim=sdg"], "there is no optim=sdg; did you mean sgd?"),
        (["resume=nowhere"], "resume=nowhere is not there"),
        (["resume=latest"], "no unfinished run below"),
        (["resume=a=b"], """write the folder with quotes: 'resume="a=b"'"""),
        (["optim.max_lr=-1"], "optim.max_lr=-1 should be greater than 0"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing(
    command: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [*tmp_path.iterdir()] == []


def test_folders_and_mode_follow_from_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sweep = tmp_path / "run", tmp_path / "sweep"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").touch()
    sweep.mkdir()
    (sweep / "multirun.yaml").touch()
    assert run_folder(None, "new") == "new"
    assert run_folder(str(run), "new") == str(run)
    assert (sweep_mode(str(run)), sweep_mode(str(sweep))) == (None, "MULTIRUN")
    assert sweep_folder(str(sweep), "new") == str(sweep)
    with pytest.raises(UserError, match="no run to resume"):
        run_folder(str(sweep), "new")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="another run to each process"):
        run_folder("latest", "new")


def test_a_resumed_run_takes_permitted_overrides_only(compose: Callable[..., DictConfig]) -> None:
    saved = compose()
    changed = with_overrides(saved, ["resume=x", "trainer.max_epochs=12"])
    assert changed.trainer.max_epochs == 12
    assert saved.trainer.max_epochs == 10
    for refused in ("optim.max_lr=3", "optim=sgd", "~data.root"):
        with pytest.raises(UserError, match="a resumed run takes no setting but"):
            with_overrides(saved, [refused])


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"val_images": 0, "test_accuracy": 99.5}, "is finished: test accuracy 99.50 %"),
        ({"val_images": 60, "val_accuracy": 98, "test_accuracy": None}, "validation accuracy 98.0"),
        ({"val_images": 0, "test_accuracy": None}, "is finished\n"),
    ],
)
def test_a_finished_run_is_not_trained_again(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    summary: dict[str, float | None],
    told: str,
) -> None:
    run = RunFolder(tmp_path)
    run.configuration.parent.mkdir()
    saved = run_settings(compose())
    OmegaConf.save(saved, run.configuration)
    assert load_resume_config(run, [], trust=False) == (saved, saved.trainer.max_epochs)
    assert not report_finished(run)
    run.write_summary(summary)
    assert report_finished(run)
    assert told in capsys.readouterr().out
    run.summary.write_text("{")
    assert not report_finished(run)
    assert "it is written again" in capsys.readouterr().out


def test_a_run_on_images_of_ones_own_is_not_resumed_on_others(
    compose: Callable[..., DictConfig],
) -> None:
    saved = compose("data=idx", "data.root=letters")
    with pytest.raises(UserError, match="the folder is the data"):
        with_overrides(saved, ["data.root=digits"])
    assert with_overrides(compose(), ["data.root=elsewhere"]).data.root == "elsewhere"


@pytest.mark.parametrize("name", ["a b=c,d", 'x"y', "x\\", 'x\\"', "a'b", "{a}", "~x", "a(b)"])
def test_the_printed_override_resumes_a_folder_of_any_name(name: str) -> None:
    text = resume_override(Path(name))
    assert str(OverridesParser.create().parse_override(text).value()) == name


@pytest.mark.parametrize(
    ("network", "end"),
    [
        ("tiny_mnist.models.tiny_cnn.TinyCNN", "resume=mine"),
        ("my.Network", "resume=mine trust=true"),
    ],
)
def test_the_hint_how_to_go_on_trusts_classes_of_the_users_own(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    end: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = RunFolder(Path("mine")).configuration
    saved.parent.mkdir(parents=True)
    OmegaConf.save(run_settings(compose(f"model._target_={network}")), saved)
    assert resuming_hint(Path("mine")).endswith(f" {end}")


WRITE_IN_A_THREAD = """
import threading
from rich.console import Console
from tiny_mnist.launch.stop import explaining_interrupts, handle_broken_pipe

def write():
    input()
    Console().print("nobody reads this")

handle_broken_pipe()
with explaining_interrupts():
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    print("not interrupted")
"""


def test_a_closed_pipe_that_a_thread_has_noticed_interrupts_the_program() -> None:
    """Rich has redirected the output when the main thread hears of it, as in a sweep's display."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_IN_A_THREAD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate("\n", timeout=WAIT)
    assert (process.returncode, errors) == (128 + signal.SIGPIPE, "interrupted by SIGPIPE\n")


@pytest.mark.slow
def test_a_run_saves_what_hydra_saves_and_says_that_it_is_finished(
    command: Command, tmp_path: Path
) -> None:
    done = command(*SMALL, "trainer.limit_test_batches=1", "hydra.run.dir='a=b'")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Run folder: a=b\n")
    names = {path.name for path in (tmp_path / "a=b" / ".hydra").iterdir()}
    assert names == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    saved = OmegaConf.load(tmp_path / "a=b" / ".hydra" / "config.yaml")
    assert "resume" not in saved
    assert "trust" not in saved
    done = command('resume="a=b"')
    assert done.returncode == 0
    assert "is finished: test accuracy" in done.stdout


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("callbacks={a:1}", "callbacks is a group whose nodes are mappings with _target_; add one"),
        ("optim={a:1}", "optim has no such keys; add one with +optim.NAME=VALUE"),
    ],
)
def test_a_mapping_with_unknown_keys_is_not_answered_with_its_own_name(
    compose: Callable[..., DictConfig], override: str, told: str
) -> None:
    with pytest.raises(HydraException) as raised:
        compose(override)
    message = suggest(raised.value, PROJECT / "configs")
    assert message is not None
    assert message.startswith(told)


def test_a_launcher_that_is_not_installed_is_answered_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The options are files here whose defaults are those of a plugin."""
    message = "In 'hydra/launcher/slurm': Could not load 'hydra/launcher/submitit_slurm'."
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    answer = suggest(HydraException(message), PROJECT / "configs")
    assert answer is not None
    assert answer.endswith("pip install 'tiny-mnist[sweep]'")


@pytest.mark.parametrize("accuracy", [10**400, -1, 101, "99", True])
def test_an_accuracy_that_is_none_is_written_again(tmp_path: Path, accuracy: object) -> None:
    run = RunFolder(tmp_path)
    run.summary.write_text(json.dumps({"test_accuracy": accuracy}))
    with pytest.raises(UserError, match="is not a number from 0 to 100"):
        describe_result(run)
    held_out = {"val_images": 60, "val_accuracy": 98, "test_accuracy": accuracy}
    run.summary.write_text(json.dumps(held_out))
    with pytest.raises(UserError, match="is not a number from 0 to 100"):
        describe_result(run)


def test_a_prolonged_run_is_told_of_its_further_epochs(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    run.last_checkpoint.touch()
    assert describe_prolonging(run, 1, 2).endswith("epoch 2 keeps its final rate")
    assert describe_prolonging(run, 1, 3).endswith("epochs 2 to 3 keep its final rate")
