"""One training shared by several processes: on this machine, and on two hosts."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support.outcomes import read_metrics
from support.program import PROJECT, WAIT, Command
from tiny_mnist.data import MNISTDataModule
from tiny_mnist.data.loaders import EvaluationLoader, Shard, TrainingLoader
from tiny_mnist.data.transforms import Augmentation
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.lit_module import LitClassifier

# 1007 images in batches of 100: the last of 7, which two processes cannot share evenly.
PART = (
    "trainer.accelerator=cpu", "trainer.max_epochs=2", "data.train_size=1007",
    "data.batch_size=100",
)  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

LINEAR_TRAINING = PROJECT / "tests/support/linear_training.py"


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_every_image_is_given_to_one_process_in_one_step(processes: int) -> None:
    images, labels = torch.zeros(107, 28, 28, dtype=torch.uint8), torch.arange(107)
    loaders = [
        TrainingLoader(
            images, labels, labels, batch_size=25, seed=0, augmentation=Augmentation(15, 2),
            shard=Shard(rank, processes),
        )
        for rank in range(processes)
    ]  # fmt: skip
    seen = []
    for step in zip(*loaders, strict=True):
        assert {batch.global_batch_size for batch in step} == {
            sum(len(batch.labels) for batch in step)
        }
        seen += [number for batch in step for number in batch.labels.tolist()]
    assert sorted(seen) == list(range(107))
    evaluated = [
        EvaluationLoader(images, labels, batch_size=25, shard=Shard(rank, processes))
        for rank in range(processes)
    ]
    seen = [int(n) for loader in evaluated for batch in loader for n in batch.labels]
    assert sorted(seen) == list(range(107))


def test_uneven_parts_of_a_batch_weigh_as_many_images_as_they_have(mnist_root: Path) -> None:
    """The mean of the processes' gradients is the gradient of the whole batch."""
    data = MNISTDataModule(root=str(mnist_root), batch_size=7)
    data.setup("fit")
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))  # no batch norm

    def gradient(rank: int, processes: int) -> torch.Tensor:
        class OfMany:
            world_size = processes

        classifier = LitClassifier(network, torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR)
        classifier.__dict__["_trainer"] = OfMany()
        loader = data.train_dataloader()
        loader.shard = Shard(rank, processes)
        fed = data.on_after_batch_transfer(next(iter(loader)), 0)
        network.zero_grad()
        classifier.training_step(fed).backward()
        assert network[1].weight.grad is not None
        return network[1].weight.grad.clone()

    mean = (gradient(0, 2) + gradient(1, 2)) / 2
    assert mean.allclose(gradient(0, 1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_on_this_machine_share_each_batch(
    command: Command, tmp_path: Path, processes: int
) -> None:
    done = command(
        *PART[:-1], "data.batch_size=90", "trainer=ddp", f"trainer.devices={processes}",
        "hydra.run.dir=run", **ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = summary(tmp_path / "run")
    expected = {"processes": processes, "steps": 24, "training_images": 1007}
    assert {key: found[key] for key in expected} == expected
    assert found["test_images"] == 10_000
    for split, images in (("test", 10_000), ("train", 1007)):
        right = found[f"{split}_accuracy"] * images / 100
        assert right == pytest.approx(round(right)), "each image counted once"
    folder = tmp_path / "run"
    logs = {path.name for path in folder.rglob("*.log")}
    assert logs == {"train.log"}, "the first process alone writes"
    assert not [*tmp_path.rglob("*.log")][1:]


@pytest.mark.slow
def test_the_number_of_processes_changes_no_weight(tmp_path: Path, mnist_root: Path) -> None:
    """But for rounding; without batch normalisation, which sees the images of its process alone."""
    found = []
    for processes in (1, 2, 3):
        path = tmp_path / f"{processes}.pt"
        subprocess.run(
            [sys.executable, str(LINEAR_TRAINING), str(processes), path],
            env={**os.environ, **ONE_THREAD, "MNIST_ROOT": str(mnist_root)}, check=True,
            cwd=tmp_path, capture_output=True, timeout=WAIT,
        )  # fmt: skip
        found.append(torch.load(path, weights_only=True)["1.weight"])
    for weight in found[1:]:
        torch.testing.assert_close(weight, found[0], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_processes_learn_as_one_does(command: Command, tmp_path: Path) -> None:
    recipe = ("trainer.accelerator=cpu", "trainer.max_epochs=2", "data.train_size=12000")
    accuracies = {}
    for name, trainer in (("one", ()), ("two", ("trainer=ddp", "trainer.devices=2"))):
        for seed in (0, 1):
            run = f"{name}{seed}"
            done = command(*recipe, *trainer, f"seed={seed}", f"hydra.run.dir={run}", **ONE_THREAD)
            assert done.returncode == 0, done.stderr
            accuracies[run] = summary(tmp_path / run)["test_accuracy"]
            rates = [row["learning_rate"] for row in read_metrics(RunFolder(tmp_path / run))]
            assert rates[0] == pytest.approx(0.1)
    one, two = ((accuracies[f"{name}0"] + accuracies[f"{name}1"]) / 2 for name in ("one", "two"))
    assert min(accuracies.values()) > 90
    assert two == pytest.approx(one, abs=2), accuracies


def torchrun(port: int, node: int, nodes: int, address: str, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--node-rank={node}",
        f"--nproc-per-node={2 // nodes}", f"--master-addr={address}", f"--master-port={port}",
        str(PROJECT / "train.py"), *PART, "trainer=ddp", f"trainer.devices={2 // nodes}",
        f"trainer.num_nodes={nodes}", *arguments,
    ]  # fmt: skip


@pytest.mark.slow
def test_torchrun_starts_them_too_and_the_first_alone_leaves_files(
    tmp_path: Path, mnist_root: Path
) -> None:
    done = subprocess.run(
        torchrun(free_port(), 0, 1, "127.0.0.1"), cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, **ONE_THREAD, "MNIST_ROOT": str(mnist_root)}, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert summary(folder)["processes"] == 2
    assert done.stdout.count("Test accuracy: ") == 1


@pytest.mark.slow
def test_processes_that_do_not_fit_the_configuration_get_one_line(
    command: Command, tmp_path: Path
) -> None:
    done = command("debug=batch", WORLD_SIZE="2", RANK="0", LOCAL_RANK="0")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: trainer.devices=1 trainer.num_nodes=1 needs 1 processes, and 2")
    done = command("debug=batch", "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1")
    (line,) = done.stderr.splitlines()
    assert "needs 2 processes, and 1 was or were started" in line


def ip(*arguments: str, check: bool = True) -> bool:
    return not subprocess.run(["ip", *arguments], capture_output=True, check=check).returncode


@pytest.fixture
def hosts() -> Iterator[list[tuple[str, str]]]:
    """Two network namespaces joined by a cable: (name, address) of each."""
    names = [f"tm{os.getpid()}{end}" for end in "ab"]
    if not shutil.which("ip") or not ip("netns", "add", names[0], check=False):
        pytest.skip("network namespaces need the command ip and the rights of root")
    found = [(name, f"10.77.0.{at}") for at, name in enumerate(names, start=1)]
    try:
        ip("netns", "add", names[1])
        ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
        for name, address in found:
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
            for device in ("lo", name):
                ip("-n", name, "link", "set", device, "up")
        yield found
    finally:
        for name in names:
            ip("netns", "delete", name, check=False)


@pytest.mark.slow
def test_two_hosts_train_together(
    hosts: list[tuple[str, str]], tmp_path: Path, mnist_root: Path
) -> None:
    """Each host has its own network and folder; only the first leaves anything."""
    address = hosts[0][1]
    processes = []
    for node, (name, _) in enumerate(hosts):
        (tmp_path / name).mkdir()
        processes.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, *torchrun(29500, node, 2, address)],
                cwd=tmp_path / name, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={
                    **os.environ, **ONE_THREAD, "MNIST_ROOT": str(mnist_root),
                    "GLOO_SOCKET_IFNAME": name,
                },
            )
        )  # fmt: skip
    try:
        said = [process.communicate(timeout=WAIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    first, second = (tmp_path / name for name, _ in hosts)
    (folder,) = (first / "runs").iterdir()
    found = summary(folder)
    assert (found["processes"], found["steps"], found["test_images"]) == (2, 22, 10_000)
    assert list(second.iterdir()) == []
