"""Each logger gets the metrics of metrics.csv under the same names; resumed runs go on in it."""

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from omegaconf import DictConfig, OmegaConf

from support.outcomes import read_metrics
from support.program import SMALL, WAIT, Command
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps.job import resume_override
from tiny_mnist.training import loggers
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]
Points = dict[str, list[tuple[int, float]]]
"""Step and value of each point that was logged, by the name of the metric."""
EPOCHS, STEPS = 2, 20


def expected(run: RunFolder) -> Points:
    """What every logger must have, from metrics.csv: epochs end with steps 10 and 20."""
    rows = read_metrics(run)
    names = [name for name in rows[0] if name not in ("epoch", "learning_rate")]
    return {
        name: [(int(r["epoch"] or 0) * 10, float(r[name] or 0)) for r in rows] for name in names
    }


def check(found: Points, run: RunFolder) -> None:
    """Compare what a logger was given with metrics.csv."""
    for name, points in expected(run).items():
        values = [value for _, value in found[name]]
        assert values == pytest.approx([value for _, value in points], rel=1e-5), name
        steps = [step for step, _ in found[name]]
        assert len(set(steps)) == EPOCHS
        assert steps == sorted(steps)
    assert [step for step, _ in sorted(found["learning_rate"])] == list(range(STEPS))
    assert found["learning_rate"][0][1] == pytest.approx(0.1)


def read_csv(path: Path) -> Points:
    found: Points = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            for name, cell in row.items():
                if cell and name not in ("step", "epoch"):
                    found[name].append((int(row["step"]), float(cell)))
    return found


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, which W&B's offline files are.

    After a header of 7 bytes come blocks of 32 KiB, of chunks: 4 bytes of checksum, 2 of length, 1
    of type (1: whole; 2, 3, 4: first, middle and last of a record).
    """
    position, record = 7, b""
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:  # too short for a chunk
            position += 32768 - position % 32768
            continue
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def read_wandb(folder: Path) -> Points:
    """The history in the transaction logs of W&B's offline runs below a run folder, in order."""
    from wandb.proto import wandb_internal_pb2

    found: Points = defaultdict(list)
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for content in leveldb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            items = {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in items.items():
                if not name.startswith(("_", "trainer/", "epoch")):
                    found[name].append((items["trainer/global_step"], value))
    return found


def read_mlflow(run_id: str, store: Path) -> Points:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    names = client.get_run(run_id).data.metrics
    return {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in names
    }


def test_csv(compose: Compose, tmp_path: Path) -> None:
    train(compose(*SMALL, "logger=csv"), tmp_path)
    check(read_csv(tmp_path / "csv" / "metrics.csv"), RunFolder(tmp_path))
    assert "max_lr: 0.75" in (tmp_path / "csv" / "hparams.yaml").read_text()
    assert not (tmp_path / "loggers.json").exists()


def test_loggers_that_were_opened_are_closed_when_a_later_one_is_refused(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = object(), []

    def build(name: str, *_: Any) -> object:
        if name == "mlflow":
            raise UserError("refused")
        return opened

    monkeypatch.setattr(loggers, "build_logger", build)
    monkeypatch.setattr(
        loggers, "finish", lambda trainer, exit_code: closed.append((trainer.loggers, exit_code))
    )
    config = {"logger": {"wandb": {"_target_": "a"}, "mlflow": {"_target_": "b"}}}
    trainer = pl.Trainer(logger=False, enable_checkpointing=False)
    with (
        pytest.raises(UserError, match="refused"),
        loggers.open_loggers(config, RunFolder(tmp_path), trainer, resume=False),
    ):
        pass
    assert closed == [([opened], 1)]


def test_no_logger_leaves_metrics_csv_alone(
    compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(compose(*SMALL, "logger=none"), tmp_path)
    printed = capsys.readouterr().out.replace("\n", "")
    assert "tensorboard" not in printed
    assert f"Curves: {tmp_path}/curves.png" in printed
    assert len(read_metrics(RunFolder(tmp_path))) == EPOCHS
    assert not list(tmp_path.rglob("events.*"))


@pytest.mark.slow
def test_a_prolonged_run_whose_logger_is_refused_stays_finished(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    config = compose(*SMALL, "trainer.max_epochs=1", "logger=csv")
    run.configuration.parent.mkdir()
    OmegaConf.save(config, run.configuration)
    train(config, tmp_path)
    before = run.configuration.read_text(), run.summary.read_text()

    def refuse(*arguments: object, **options: object) -> None:
        raise UserError("no account")

    monkeypatch.setattr("tiny_mnist.training.loggers.build_logger", refuse)
    with pytest.raises(UserError, match="no account"):
        train(compose(*SMALL, "logger=csv"), tmp_path, resume=True)
    assert (run.configuration.read_text(), run.summary.read_text()) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's client uses what SQLAlchemy has deprecated
def test_jobs_are_runs_of_their_own_in_each_of_many_loggers_and_go_on_when_resumed(
    command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    settings = {"WANDB_CONFIG_DIR": str(tmp_path / "settings")}
    store = tmp_path / "mlflow.db"

    def execute(*arguments: str) -> str:
        done = command(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    many = ("logger=many", "logger.wandb.offline=true")
    execute("-m", *SMALL, "seed=0,1", *many, "data.val_size=0", "hydra.sweep.dir=sweep")
    jobs = sorted(path.parent for path in (tmp_path / "sweep").glob("*/loggers.json"))
    ids = [json.loads((job / "loggers.json").read_text()) for job in jobs]
    assert len(ids) == 2
    assert ids[0]["wandb"] != ids[1]["wandb"], "W&B would go on with the run of the job before"
    for job, each in zip(jobs, ids, strict=True):
        run = RunFolder(job)
        check(read_csv(job / "csv" / "metrics.csv"), run)
        check(read_wandb(job), run)
        check(read_mlflow(each["mlflow"], store), run)
        assert list(job.glob("train/events.*"))

    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{store}").get_run(ids[0]["mlflow"])
    assert (found.info.status, found.info.run_name) == ("FINISHED", jobs[0].name)
    assert found.data.params["optimizer"] == "Adagrad"

    longer = resume_override(jobs[0].relative_to(tmp_path))
    execute(longer, "trainer.max_epochs=3")
    assert json.loads((jobs[0] / "loggers.json").read_text()) == ids[0]
    logs = sorted(jobs[0].glob("wandb/offline-run-*/run-*.wandb"))
    assert [path.name for path in logs] == [f"run-{ids[0]['wandb']}.wandb"] * 2
    assert len(read_wandb(jobs[0])["train_loss"]) == 3
    assert len(read_mlflow(ids[0]["mlflow"], store)["train_loss"]) == 3

    store.rename(tmp_path / "elsewhere.db")
    assert "logger.mlflow begins a new run" in execute(longer, "trainer.max_epochs=4")
    assert json.loads((jobs[0] / "loggers.json").read_text())["mlflow"] != ids[0]["mlflow"]


@pytest.mark.slow
def test_jobs_that_begin_at_once_share_a_new_store_of_mlflow(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    code = (
        "from tiny_mnist.training.loggers import build_logger; from pathlib import Path; "
        "from tiny_mnist.runs.folder import RunFolder; "
        "node = {'_target_': 'lightning.pytorch.loggers.MLFlowLogger'}; "
        "build_logger('mlflow', node, RunFolder(Path('run')), {}).log_metrics({'loss': 1.0})"
    )
    environment = {key: v for key, v in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    errors = [job.communicate(timeout=WAIT)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], errors


@pytest.mark.slow
def test_wandb_without_an_account_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_MODE": "online"}
    done = command(*SMALL, "logger=wandb", "hydra.run.dir=run", WANDB_API_KEY="", **home)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: wandb: ")
    assert not (tmp_path / "run" / "metrics.csv").exists()
