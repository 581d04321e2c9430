"""What a run says beside other busy programs."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.processor_use import ProcessorUse, read_processor_use
from tiny_mnist.training.callbacks import contention
from tiny_mnist.training.callbacks.contention import ContentionWarning
from tiny_mnist.training.lit_module import LitClassifier

MESSAGE = "Other processes keep the processors busy: training gets 1.1 of 2."


class Machine:
    """Stands for two processors, which two threads have alone or share with other programs."""

    def __init__(self) -> None:
        self.now = self.own = self.idle = 0.0
        self.idle_processors = 0.0
        self.is_shared = True
        self.shared_use = 1.1
        self.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        self.module = LitClassifier(TinyCNN())

    def read(self) -> ProcessorUse:
        """What the system would say."""
        return ProcessorUse(self.now, self.own, self.idle)

    def train(self, callback: ContentionWarning, seconds: float) -> None:
        """Train an epoch in steps of 0.1 s."""
        callback.on_train_epoch_start(self.trainer, self.module)
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            self.own += 0.1 * (self.shared_use if self.is_shared else 2)
            self.idle += 0.1 * self.idle_processors
            callback.on_train_batch_end(self.trainer, self.module, None, None, 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()
    monkeypatch.setattr(contention, "read_processor_use", machine.read)
    monkeypatch.setattr(contention, "perf_counter", lambda: machine.now)
    monkeypatch.setattr(contention, "count_processors", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield machine
    torch.set_num_threads(before)


@pytest.fixture
def callback(machine: Machine) -> ContentionWarning:
    """The callback of a run that has begun on that machine."""
    callback = ContentionWarning()
    callback.on_train_start(machine.trainer, machine.module)
    return callback


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_run_beside_busy_programs_says_so_once(
    machine: Machine, callback: ContentionWarning, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.train(callback, 2)
    assert MESSAGE not in shown(capsys), "a short disturbance is not mentioned"
    machine.train(callback, 10)
    machine.train(callback, 10)
    assert shown(capsys).count(MESSAGE) == 1


@pytest.mark.parametrize(
    "reason",
    ["alone", "idle processors", "one thread", "unknown", "pauses", "more threads than processors"],
)
def test_a_run_says_nothing_without_a_reason(
    machine: Machine, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason == "alone":
        machine.is_shared = False
    if reason == "idle processors":  # a run that waits for its images
        machine.idle_processors = 0.9
    if reason == "unknown":
        machine.idle_processors = float("nan")
    if reason == "more threads than processors":
        torch.set_num_threads(8)
        machine.is_shared = False
    if reason == "one thread":
        torch.set_num_threads(1)
        machine.shared_use = 0.6
    callback = ContentionWarning()
    callback.on_train_start(machine.trainer, machine.module)
    for _ in range(10):
        if reason == "pauses":
            machine.is_shared = False
            machine.now += 5  # between two epochs
        machine.train(callback, 1)
    assert "Other processes" not in shown(capsys)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux alone counts idle time")
def test_the_use_of_the_processors_is_read() -> None:
    before = read_processor_use()
    while (use := read_processor_use().since(before)).own < 0.3:
        pass
    assert use.wall > 0.29
    assert -0.02 <= use.idle <= use.wall * (os.cpu_count() or 1)
    assert read_processor_use().idle > 0


@pytest.mark.parametrize("content", ["", "cpu 1 2 3 4 5\n", "cpu0 0 0 0 0 0\ncpu1 0 0 0 0 0\n"])
def test_idle_time_that_a_container_hides_is_unknown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "stat"
    file.write_text(content)
    assert math.isnan(read_processor_use(file).idle)
    assert math.isnan(read_processor_use(tmp_path / "absent").idle)
