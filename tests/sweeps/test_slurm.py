"""A sweep on a cluster: a Slurm that the test starts on this machine."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.outcomes import weights
from support.program import PROJECT, SMALL, WAIT, Command
from support.waiting import wait_until

JOB = (
    *SMALL, "trainer.max_epochs=12", "trainer.limit_test_batches=1", "data.val_size=500",
    "optim.max_lr=0.3,0.5", "seed=0,1",
)  # fmt: skip
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "squeue", "sinfo")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
MailProg=/bin/true
MessageTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=all Nodes={host} Default=YES MaxTime=60 State=UP
"""


def free_ports(number: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch finds a cluster of one node with two cores."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra sweep")
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.geteuid():
        pytest.skip(f"needs root and Debian's slurm-wlm and munge; missing: {missing}")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=socket.gethostname(), ports=free_ports(2), folder=folder)
    )
    environment = {"SLURM_CONF": str(configuration), "OMP_NUM_THREADS": "1"}
    munged = [
        "munged", "--foreground", "--force", f"--key-file={key}",
        f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
    ]  # fmt: skip
    daemons = []

    def start(*command: str) -> None:
        with (folder / f"{command[0]}.out").open("w") as output:
            daemons.append(
                subprocess.Popen(
                    command, env={**os.environ, **environment}, stdout=output, stderr=output
                )
            )

    def idle() -> bool:
        state = subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env={**os.environ, **environment}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        return state.stdout.strip() == "idle"

    try:
        start(*munged)
        wait_until((folder / "munge.socket").exists)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        wait_until(idle, 120)
        yield environment
    finally:
        if len(daemons) > 1:  # jobs would outlive the daemons
            cancel = ["scancel", "--user=root", "--signal=KILL"]
            subprocess.run(cancel, env={**os.environ, **environment}, check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


@pytest.mark.slow
def test_a_sweep_through_slurm_survives_preemption_exactly(
    slurm: dict[str, str], command: Command, tmp_path: Path, mnist_root: Path
) -> None:
    environment = {**os.environ, **slurm, "MNIST_ROOT": str(mnist_root)}
    controller_log = Path(slurm["SLURM_CONF"]).with_name("slurmctld.log")
    launcher = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
    with subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), "-m", *JOB, *launcher, "hydra.sweep.dir=two"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            begun = tmp_path / "two" / "0_optim.max_lr=0.3,seed=0"
            wait_until((begun / "metrics.csv").exists)
            queue = subprocess.run(
                ["squeue", "-h", "-r", "-t", "R", "-o", "%i"], env=environment,
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            first = next(job for job in queue.stdout.split() if job.endswith("_0"))
            # scancel repeats a signal whose delivery is not confirmed within seconds. A repetition
            # may hit the job as it starts again, before its handler is set, and end it for good.
            # The controller's log tells when it has the first.
            with subprocess.Popen(["scancel", "--signal=USR2", first], env=environment) as cancel:
                wait_until(lambda: "REQUEST_KILL_JOB" in controller_log.read_text())
                cancel.kill()
            said, errors = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "Validation accuracy (%)" in said
    log = (begun / "train.log").read_text()
    assert re.search(r"Going on after step \d+, from .*last.ckpt", log), "it was preempted"
    assert json.loads((begun / "summary.json").read_text())["threads"] == 1

    command("-m", *JOB, "hydra.sweep.dir=one", OMP_NUM_THREADS="1")
    assert len(weights(tmp_path / "one")) == 4
    assert weights(tmp_path / "two") == weights(tmp_path / "one")
