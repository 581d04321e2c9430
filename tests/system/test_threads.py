"""The waiting time of OpenMP's threads."""

import os
import subprocess
import sys

import pytest

from support.program import PROJECT
from tiny_mnist.system.threads import SPIN_COUNT, WAIT_VARIABLES, configure_openmp


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP's own defaults, unless a test sets a variable; all are restored after the test."""
    for name in WAIT_VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set in the test is undone
        monkeypatch.delenv(name)


def test_spinning_is_limited_and_the_number_of_threads_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    configure_openmp()
    assert os.environ["GOMP_SPINCOUNT"] == str(SPIN_COUNT)
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("name", WAIT_VARIABLES)
def test_variables_of_the_user_are_respected(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "ACTIVE" if name == "OMP_WAIT_POLICY" else "5")
    before = dict(os.environ)
    configure_openmp()
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP library comes with Linux wheels")
def test_openmp_library_of_torch_reads_the_setting_of_the_program() -> None:
    script = "\n".join([
        "import sys",
        "from tiny_mnist import launch",
        "def main():",
        "    assert 'torch' not in sys.modules",
        "    import torch",
        "launch.run(main)",
    ])  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT, env=os.environ | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in done.stderr
