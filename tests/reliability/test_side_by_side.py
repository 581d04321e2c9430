"""Many runs at once in one folder."""

import json
from collections import Counter
from pathlib import Path

import pytest

from support.program import RUN, Program
from tiny_mnist.data import MNIST

pytestmark = pytest.mark.slow
RUNS = 20


def test_twenty_runs_at_once_share_an_empty_data_folder(
    tmp_path: Path, mirror: Path, count: Counter[str]
) -> None:
    (tmp_path / "data").mkdir()
    arguments = (*RUN, "data.root=data", "trainer.limit_train_batches=2", "trainer.max_epochs=1")
    started = [
        Program(*arguments, folder=tmp_path, mirror=mirror, output=tmp_path / f"output{n}")
        for n in range(RUNS)
    ]
    for program in started:
        done = program.wait()
        assert done is not None
        assert (done.status, done.stderr) == (0, "")
    summaries = [json.loads(p.read_text()) for p in tmp_path.glob("runs/*/summary.json")]
    assert len(summaries) == RUNS
    count["runs at once in one folder"] += RUNS
    assert len({summary["weights_sha256"] for summary in summaries}) == 1, "one seed"
    left = {path.name for path in (tmp_path / "data").iterdir()} - {".lock"}
    assert left == {file.name for file in MNIST.files}
