"""Each logger gets the metrics of metrics.csv under the same names; resumed runs go on in it."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from support.program import SMALL
from tiny_mnist.errors import UserError
from tiny_mnist.runs import RunFolder
from tiny_mnist.training.train import train

Compose = Callable[..., DictConfig]
Points = dict[str, list[tuple[int, float]]]
"""Step and value of each point that was logged, by the name of the metric."""
EPOCHS, STEPS = 2, 20


def expected(run: RunFolder) -> Points:
    """What every logger must have, from metrics.csv: epochs end with steps 10 and 20."""
    rows = run.read_metrics()
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


def read_wandb(folder: Path) -> Points:
    """The history in the transaction logs of W&B's offline runs below a run folder, in order."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    found: Points = defaultdict(list)
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        while (content := store.scan_data()) is not None:
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


def test_no_logger_leaves_metrics_csv_alone(compose: Compose, tmp_path: Path) -> None:
    train(compose(*SMALL, "logger=none"), tmp_path)
    assert len(RunFolder(tmp_path).read_metrics()) == EPOCHS
    assert not list(tmp_path.rglob("events.*"))


@pytest.mark.slow
def test_wandb_offline_needs_no_account_and_a_resumed_run_keeps_its_name(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    run = RunFolder(tmp_path / "run")
    begun = ("logger=wandb", "logger.wandb.offline=true")
    train(compose(*SMALL, *begun), run.path)
    check(read_wandb(run.path), run)
    (name,) = json.loads(run.logger_ids.read_text()).values()

    run.summary.unlink()
    train(compose(*SMALL, *begun, "trainer.max_epochs=3"), run.path, resume=True)
    logs = sorted(run.path.glob("wandb/offline-run-*/run-*.wandb"))
    assert [path.name for path in logs] == [f"run-{name}.wandb"] * 2
    assert len(read_wandb(run.path)["train_loss"]) == 3


@pytest.mark.slow
def test_mlflow_gets_the_metrics_and_a_resumed_run_goes_on_in_the_same_run(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run, store = RunFolder(tmp_path / "run"), tmp_path / "mlflow.db"
    train(compose(*SMALL, "logger=mlflow"), run.path)
    (run_id,) = json.loads(run.logger_ids.read_text()).values()
    check(read_mlflow(run_id, store), run)

    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{store}").get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert found.data.params["optimizer"] == "Adagrad"

    run.summary.unlink()
    train(compose(*SMALL, "logger=mlflow", "trainer.max_epochs=3"), run.path, resume=True)
    assert json.loads(run.logger_ids.read_text()) == {"mlflow": run_id}
    assert len(read_mlflow(run_id, store)["train_loss"]) == 3

    store.rename(tmp_path / "elsewhere.db")
    run.summary.unlink()
    train(compose(*SMALL, "logger=mlflow", "trainer.max_epochs=4"), run.path, resume=True)
    assert "logger.mlflow begins a new run" in capsys.readouterr().out
    assert json.loads(run.logger_ids.read_text()) != {"mlflow": run_id}


@pytest.mark.slow
def test_the_jobs_of_a_sweep_are_runs_of_their_own_in_many_loggers(
    command: Any, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    done = command(
        "-m", *SMALL, "seed=0,1", "logger=many", "logger.wandb.offline=true",
        "hydra.sweep.dir=sweep", WANDB_CONFIG_DIR=str(tmp_path / "settings"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    jobs = [RunFolder(path.parent) for path in (tmp_path / "sweep").glob("*/loggers.json")]
    ids = [json.loads(job.logger_ids.read_text()) for job in jobs]
    assert len(ids) == len({each["wandb"] for each in ids}) == len({e["mlflow"] for e in ids}) == 2
    for job, each in zip(jobs, ids, strict=True):
        for found in (
            read_wandb(job.path), read_mlflow(each["mlflow"], tmp_path / "mlflow.db"),
            read_csv(job.path / "csv" / "metrics.csv"),
        ):  # fmt: skip
            check(found, job)
        assert list(job.path.glob("events.*"))


def test_wandb_without_an_account_is_refused_in_one_line(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from tiny_mnist.errors import format_error

    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    with pytest.raises(Exception, match=r"api_key|API key") as caught:
        train(compose(*SMALL, "logger=wandb"), tmp_path / "run")
    line = format_error(caught.value)
    assert line is not None
    assert line.startswith("wandb: ")
    assert "\n" not in line
    assert not isinstance(caught.value, UserError)
