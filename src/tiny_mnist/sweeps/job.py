"""Many runs in one folder: what is added to the command, how a job goes on, the table at the end.

A sweep folder holds `sweep.json`, from which it can be resumed, a folder for each job, and at the
end `sweep.csv` and `sweep.png`.
"""

import itertools
import json
import logging
import math
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tiny_mnist.errors import UserError, display_path, format_error
from tiny_mnist.system.atomic_files import atomic_write
from tiny_mnist.system.processes import env_world_size

log = logging.getLogger(__name__)

HELD_OUT = 5000  # images, in a sweep that chooses anything
COMMAND = "sweep.json"
N_JOBS = "hydra.launcher.n_jobs="
LONGEST_NAME = 120  # characters of a folder's name, of the 255 bytes that file systems take
LAUNCHERS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher"}
"""Options of hydra/launcher, and the plugins that they need."""
SHARED = re.compile(r"\+*trainer(\.strategy)?=.*\bddp\b")
NOT_LAUNCHED = (
    "starts several processes for each job, which no launcher does: sweep without hydra/launcher, "
    "one job after the other, or start the runs one by one"
)


@dataclass
class Sweep:
    """The sweep that this process has begun.

    Args:
        overrides: of all jobs, swept ones included, as on the command line.
        jobs: how many there are; None when only Hydra can tell.
        resumed: whether the folder holds some of them already.
        folder: known once Hydra has composed the configuration.
    """

    overrides: list[str]
    jobs: int | None
    resumed: bool
    folder: Path | None = None
    stop_watching: Callable[[], None] = field(default=lambda: None)

    def begin(self, folder: Path, parallel: bool, shared: bool) -> None:
        """Note what is to be done in the folder, and watch jobs that run elsewhere.

        Args:
            folder: of the sweep.
            parallel: whether a launcher runs the jobs, side by side or on a cluster.
            shared: whether each job is a training of several processes.

        Raises:
            UserError: the folder holds another sweep, or the jobs cannot be run so.
        """
        if parallel and (shared or any(SHARED.match(override) for override in self.overrides)):
            raise UserError(f"trainer=ddp {NOT_LAUNCHED}")
        command = folder / COMMAND
        if command.exists() and not self.resumed:
            raise UserError(
                f"{folder} already holds a sweep; choose another hydra.sweep.dir, or go on with "
                f"{how_to_go_on(folder)}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(command) as file:
            file.write((json.dumps({"overrides": self.overrides}, indent=2) + "\n").encode())
        self.folder = folder
        if parallel:
            from tiny_mnist.sweeps.progress import watch

            self.stop_watching = watch(folder, self.jobs)

    @property
    def failures(self) -> dict[str, str]:
        """Why jobs failed, by the names of their folders."""
        if self.folder is None:
            return {}
        from tiny_mnist.runs.folder import FAILURE, job_number

        return {
            path.parent.name: path.read_text().strip()
            for path in sorted(self.folder.glob(f"*/{FAILURE}"), key=job_number)
            if not (path.parent / "summary.json").exists()  # another process has done it since
        }

    def conclude(self) -> None:
        """Print and write the table of what is finished, and say what is not."""
        self.stop_watching()
        if self.folder is None:
            return
        from rich.console import Console

        from tiny_mnist.sweeps.ranking import Ranking, find_runs

        # Not Rich's global one, on which a bar may still be drawn.
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = max(console.width, 120)
        finished = len([*self.folder.glob("*/summary.json")])
        if finished:
            ranking = Ranking(find_runs([self.folder]))
            ranking.write_csv(self.folder / "sweep.csv")
            self.draw(ranking)
            console.print("", ranking.table(), sep="\n")
            console.print(*ranking.notes(), sep="\n", soft_wrap=True)
        console.print(f"\nSweep folder: {display_path(self.folder)}", soft_wrap=True)
        failures = self.failures
        if self.jobs is None or finished < self.jobs:
            done = f"{finished} of {self.jobs}" if self.jobs else str(finished)
            failed = f", {len(failures)} failed" if failures else ""
            console.print(f"{done} jobs finished{failed}", soft_wrap=True)
            for name, reason in failures.items():
                console.print(f"  {name}: {reason}", soft_wrap=True, markup=False)
            console.print(f"Go on with: {how_to_go_on(self.folder)}", soft_wrap=True, markup=False)

    def draw(self, ranking: Any) -> None:
        """Write the picture."""
        from tiny_mnist.evaluation.plots import save
        from tiny_mnist.sweeps.plots import plot_sweep

        assert self.folder is not None
        figure = plot_sweep(ranking.configurations, ranking.split)
        save(figure, self.folder / "sweep.png")


current: Sweep | None = None
"""Set while the command of a sweep runs in this process."""


def is_sweep(arguments: list[str]) -> bool:
    """Whether a command line asks for several jobs."""
    words = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
    return any(a in words or a.startswith("resume_sweep=") for a in arguments)


def prepare(arguments: list[str]) -> list[str]:
    """Complete the command line of a sweep, and begin it.

    Folders are named by what is swept alone. A sweep that chooses anything but the seed is ranked
    on held-out images, unless the command line says otherwise.

    Raises:
        UserError: it cannot be run as asked.
    """
    global current  # noqa: PLW0603 (a process runs one command)
    if env_world_size() > 1:
        raise UserError(
            "-m inside torchrun or srun would run the whole sweep in every process; sweep with "
            "trainer=ddp on one machine, or start the runs one by one"
        )
    arguments, resumed = resume(arguments)
    flags = [argument for argument in arguments if not is_override(argument)]
    overrides = [argument for argument in arguments if argument not in flags]
    if any(override.lstrip("+").startswith("hydra.sweep.subdir=") for override in overrides):
        raise UserError(
            "hydra.sweep.subdir: a sweep names the folders of its jobs itself; hydra.sweep.dir=… "
            "is the folder of all"
        )
    launchers = check_launcher(overrides)

    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(
        [override for override in overrides if not is_hydras(override)]
    )
    swept = [override for override in parsed if override.is_sweep_override()]
    keys = [override.key_or_group for override in parsed]
    chosen = [override.key_or_group for override in swept if override.key_or_group != "seed"]
    added = []
    if chosen and "data.val_size" not in keys and not all_hold_out(overrides):
        added.append(f"data.val_size={HELD_OUT}")
        print(
            f"Ranking on {HELD_OUT:,} held-out training images, so that nothing is selected on the "
            "test images (data.val_size=… for another number)"
        )
    names = [override.key_or_group for override in swept]
    constant = [key for key in [*keys, "data.val_size"] if key not in names]
    counted = [o for o in swept if o.is_choice_sweep() or o.is_range_sweep()]
    jobs = 1 if len(counted) == len(swept) else None
    for override in counted:
        jobs = jobs and jobs * sum(1 for _ in override.sweep_string_iterator())
    task = [*(override for override in overrides if not is_hydras(override)), *added]
    current = Sweep(task, jobs, resumed)
    own = [override for override in overrides if is_hydras(override)]
    if "joblib" in launchers and jobs and not any(N_JOBS in override for override in own):
        from joblib import cpu_count

        own.append(f"{N_JOBS}{min(jobs, cpu_count())}")  # cores are divided by it, not by the jobs
    excluded = ",".join(f"'{key}'" for key in dict.fromkeys(constant))
    return [
        *flags,
        *task,
        f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]",
        "hydra.output_subdir='${output_subdir:${hydra.runtime.output_dir}}'",
        *own,
    ]


def check_launcher(overrides: list[str]) -> set[str]:
    """The launchers that are asked for, each of which could begin.

    Raises:
        UserError: it could not.
    """
    wanted = {
        name
        for name in LAUNCHERS
        if {f"hydra/launcher={name}", f"hydra/launcher=submitit_{name}"} & {*overrides}
    }
    for name in wanted:
        if not find_spec(f"hydra_plugins.{LAUNCHERS[name]}"):
            raise UserError(
                f"hydra/launcher={name} needs {LAUNCHERS[name]}: pip install -e '.[sweep]'"
            )
    if "slurm" in wanted and not (shutil.which("sbatch") and shutil.which("srun")):
        raise UserError("hydra/launcher=slurm needs Slurm's commands sbatch and srun, not found")
    return wanted


def all_hold_out(overrides: list[str]) -> bool:
    """Whether all jobs hold images out by themselves, as those of experiment=holdout do.

    Composed with what could say so: options of groups, which have no dot in their names.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    constant, choices = [], []
    task = [override for override in overrides if not is_hydras(override)]
    for text, override in zip(task, OverridesParser.create().parse_overrides(task), strict=True):
        key = override.get_key_element()
        if not override.is_sweep_override():
            constant.append(text)
        elif override.is_choice_sweep() and "." not in key and key != "seed":
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return all(
            compose("train", [*constant, *chosen]).data.val_size
            for chosen in itertools.product(*choices)
        )


def config_folder() -> Path:
    """Where the program that runs has its configurations."""
    return Path(sys.argv[0]).resolve().parent / "configs"


def is_override(argument: str) -> bool:
    """Whether an argument changes the configuration, and is no flag of Hydra's or its value."""
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def resume(arguments: list[str]) -> tuple[list[str], bool]:
    """Put the command of the sweep that is to go on in the place of `resume_sweep=FOLDER`.

    Hydra's own settings are not taken from the folder: it may come from a stranger, and where jobs
    run is not part of what they are.
    """
    given = [argument for argument in arguments if argument.startswith("resume_sweep=")]
    if not given:
        return arguments, False
    others = [argument for argument in arguments if argument not in given]
    folder = Path(given[-1].partition("=")[2])
    for other in others:
        if not other.startswith("-") and not is_hydras(other):
            raise UserError(f"{other}: a resumed sweep takes no setting but those of hydra")
    try:
        overrides = json.loads((folder / COMMAND).read_text())["overrides"]
        if not all(isinstance(each, str) and re.match("~|.*=", each) for each in overrides):
            raise ValueError("overrides are not texts")
    except FileNotFoundError:
        raise UserError(f"no sweep to resume: there is no {folder / COMMAND}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / COMMAND} is not the command of a sweep: {error!r}") from error
    overrides = [o for o in overrides if not is_hydras(o) and not o.startswith("-")]
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    flag = [] if is_sweep(others) else ["-m"]
    return [*flag, *others, *overrides, f"hydra.sweep.dir='{quoted}'"], True


def is_hydras(override: str) -> bool:
    """Whether an override is of Hydra's own configuration, such as hydra/launcher=joblib."""
    return re.match(r"[+~]*hydra\b", override) is not None


def job_folder(number: int, overrides: str) -> str:
    """The name of a job's folder: its number, which keeps names apart, and what sets it apart."""
    name = re.sub(r"[^\w.,=+-]+", "_", f"{number}_{overrides}").strip("_")
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def output_subdir(folder: str) -> str | None:
    """Where Hydra writes the configuration of a job: nowhere, if one that was begun has its own."""
    from tiny_mnist.runs.folder import RunFolder

    run = RunFolder(folder)
    return None if run.has_results or run.is_locked else ".hydra"


def run_job(
    train: Callable[..., float],
    config: DictConfig,
    folder: Path,
) -> float:
    """Run one job of a sweep: skip it when it is finished, go on with it when it was begun.

    Args:
        train: trains in a folder, as in `tiny_mnist.training.train`.
        config: of the job.
        folder: of the job.

    Returns:
        As `train`; NaN when the job failed, which the folder tells of, so that others go on.
    """
    from tiny_mnist.runs.folder import FAILURE, RunFolder, job_number
    from tiny_mnist.system.signals import PREEMPT_SIGNAL, Interrupted

    run, failure = RunFolder(folder), folder / FAILURE
    if run.summary.exists():
        failure.unlink(missing_ok=True)  # of an earlier try
        return score(run.summary)
    if run.is_locked:
        print(f"\nJob {folder.name}: another process is training there")
        return math.nan
    failure.unlink(missing_ok=True)
    of = f" of {current.jobs}" if current and current.jobs else ""
    print(f"\nJob {job_number(failure) + 1}{of}: {folder.name}")
    try:
        if run.has_results:
            config = load_job_config(run.configuration, config)
        if config.trainer.strategy == "ddp":
            if current is None:  # in a process that a launcher has started
                raise UserError(f"trainer=ddp {NOT_LAUNCHED}")
            return run_apart(folder)
        return train(config, folder, resume=run.has_results)
    except Interrupted as interrupted:
        handler = signal.getsignal(interrupted.number)
        if interrupted.number == PREEMPT_SIGNAL and callable(handler):
            handler(interrupted.number, None)  # submitit's: puts the job back into the queue
        raise
    except Exception as error:
        log.info("the job failed", exc_info=error)
        reason = format_error(error) or f"{type(error).__name__}, see train.log"
        with atomic_write(failure) as file:
            file.write(f"{reason}\n".encode())
        if current:  # in a process of its own, the folder is watched
            print(f"job {folder.name}: {reason}", file=sys.stderr)
        return math.nan


def load_job_config(saved: Path, config: DictConfig) -> DictConfig:
    """The configuration that a job goes on with: its own, whatever has been changed since.

    Args:
        saved: where it is.
        config: as composed today.

    Raises:
        UserError: it cannot be read.
    """
    from tiny_mnist.config.loading import differences, load_config, resolve_config

    own = load_config(saved)
    if changed := sorted(differences(resolve_config(own), resolve_config(config))):
        print(f"Going on as it was begun, whatever else is said today of {', '.join(changed)}")
    return own


def run_apart(folder: Path) -> float:
    """Run a job of several processes as a program of its own, which starts the others.

    Lightning starts them with the arguments of this program, which would be the whole sweep.

    Raises:
        UserError: it failed.
        Interrupted: it was told to stop, and has saved.
    """
    from tiny_mnist.system.signals import ChildProcesses, Interrupted

    command = [sys.executable, str(Path(sys.argv[0]).resolve()), f"resume={folder}"]
    with ChildProcesses() as children:
        status = children.start(command).wait()
    if children.received:
        raise Interrupted(children.received[0])
    if status:
        raise UserError(f"its processes ended with status {status}, see train.log")
    return score(folder / "summary.json")


def score(summary: Path) -> float:
    """The final accuracy in percent: on held-out images if there are any, else on the test images.

    NaN where images were held out and the last epoch was not evaluated on them.
    """
    content = json.loads(summary.read_text())
    value = content["val_accuracy" if content["val_images"] else "test_accuracy"]
    return math.nan if value is None else float(value)


def how_to_go_on(folder: Path) -> str:
    """The command that resumes a sweep."""
    return f"python train.py -m {shlex.quote(f'resume_sweep={display_path(folder)}')}"
