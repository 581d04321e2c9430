"""What a sweep is to do: its overrides, its jobs, all of them checked before a folder is made."""

import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from omegaconf import DictConfig, OmegaConf, read_write

from tiny_mnist.config.loading import LAUNCH_KEYS, load_config, resolve_config, run_settings
from tiny_mnist.config.schema import validate
from tiny_mnist.config.trust import check_trusted, needs_trust, read_trust_flag
from tiny_mnist.errors import UserError, display_path, program_name
from tiny_mnist.sweeps.job import needs_processes, quote_override_value, resume_override
from tiny_mnist.system.atomic_files import write_text
from tiny_mnist.system.memory import keeping_objects
from tiny_mnist.system.processes import env_world_size

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

MULTIRUN = "multirun.yaml"
Job = list[str]
"""The overrides of one job."""


class SweepPlan:
    """The overrides of a sweep, and the composition of its jobs.

    Args:
        config: the configuration of the sweep, Hydra's node included.
        loader: Hydra's loader, which composes the jobs.
        given: the task overrides of the command line.
        params: the overrides that `hydra.sweeper.params` adds, by key.

    Raises:
        UserError: the sweep to resume is damaged or not trusted, or the sweep cannot be run so.
    """

    def __init__(
        self, config: DictConfig, loader: "ConfigLoader", given: list[str], params: dict[str, Any]
    ) -> None:
        self.config, self.loader = config, loader
        self.folder = Path(config.hydra.sweep.dir)
        self.resumed = config.resume is not None
        self.trust = self.needs_trust = read_trust_flag(config)
        own = []
        for text, override in zip(given, self.parse(given), strict=True):
            if override.key_or_group not in LAUNCH_KEYS:
                own.append(text)
            elif override.is_sweep_override():
                raise UserError(f"{text}: {override.key_or_group} takes one value in a sweep")
        if self.resumed:
            if own:
                raise UserError(f"{own[0]}: a resumed sweep takes no setting but those of hydra")
            self.overrides = saved_overrides(self.folder / MULTIRUN, config, loader)
        else:
            self.overrides = [*(f"{key}={value}" for key, value in params.items()), *own]
        check_launcher(config)

    def parse(self, overrides: list[str]) -> list[Override]:
        """Overrides in Hydra's grammar."""
        return OverridesParser.create(config_loader=self.loader).parse_overrides(overrides)

    @property
    def keys(self) -> list[str]:
        """The keys that the sweep sets or varies."""
        return [override.key_or_group for override in self.parse(self.overrides)]

    def add_override(self, override: str) -> None:
        """Add an override to those that all jobs share; `multirun.yaml` will have it, too."""
        self.overrides.append(override)

    def prepare_jobs(self) -> None:
        """Fix, for all jobs, what Hydra would work out anew for each: folder, mode and names."""
        fixed = [key for key, swept in self.swept().items() if not swept]
        names = ",".join(f"'{key}'" for key in dict.fromkeys([*fixed, "data.val_size", "trust"]))
        with read_write(self.config.hydra):
            self.config.hydra.overrides.hydra = [
                *self.config.hydra.overrides.hydra,
                f"hydra.sweep.dir={quote_override_value(self.folder)}",
                "hydra.mode=MULTIRUN",
                f"hydra.job.config.override_dirname.exclude_keys=[{names}]",
            ]

    def swept(self) -> dict[str, bool]:
        """Whether the last override of each key has several values."""
        parsed = self.parse(self.overrides)
        return {override.key_or_group: override.is_sweep_override() for override in parsed}

    def compose(self, job: Job) -> DictConfig:
        """The configuration of one job, checked.

        Raises:
            UserError: a setting is refused, naming the overrides of the job that vary.
        """
        config = run_settings(self.loader.load_sweep_config(self.config, job))
        if self.resumed and not self.trust:
            check_trusted(config, self.folder / MULTIRUN)
        self.needs_trust = self.needs_trust or needs_trust(config)
        varied = {key for key, several in self.swept().items() if several}
        try:
            validate(resolve_config(config))
            if needs_processes(config) and not is_sequential(self.config):
                raise UserError(
                    f"trainer.strategy={config.trainer.strategy} starts several processes for each "
                    "job, which no launcher does: sweep without hydra/launcher, one job after the "
                    "other"
                )
        except UserError as error:
            chosen = [each for each in job if each.partition("=")[0].lstrip("+~") in varied]
            raise UserError(f"{' '.join(chosen)}: {error}" if chosen else str(error)) from error
        return config

    def job_arguments(self, job: Job) -> Job:
        """The overrides of a job as it is launched."""
        return [*job, "trust=true"] if self.trust else job

    def begin(self) -> None:
        """Create the sweep folder and `multirun.yaml`, from which the sweep can be resumed."""
        path = self.folder / MULTIRUN
        if self.resumed:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with read_write(self.config.hydra):
            self.config.hydra.overrides.task = self.overrides
        write_text(path, OmegaConf.to_yaml(self.config))

    @property
    def resuming_command(self) -> str:
        """The command that resumes the sweep, with the launcher and sweeper that it uses."""
        left_out = ("hydra.sweep.dir=", "hydra.mode=", "hydra.sweeper.params", "hydra.job.config.")
        kept = [
            text for text in self.config.hydra.overrides.hydra
            if not text.lstrip("+").startswith(left_out)
        ]  # fmt: skip
        trust = ["trust=true"] if self.needs_trust else []
        resume = resume_override(display_path(self.folder))
        return shlex.join([*program_name().split(), *self.config_dir, resume, *kept, *trust])

    @property
    def config_dir(self) -> list[str]:
        """The flag `--config-dir` of this sweep: its jobs are composed anew."""
        return [
            f"--config-dir={display_path(Path(source.path))}"
            for source in self.config.hydra.runtime.config_sources
            if source.provider == "command-line"
        ]


def check_job_components(configs: Iterable[DictConfig]) -> None:
    """Check the classes of each job, and each network with each optimizer.

    Raises:
        UserError: a class cannot be found, or an optimizer refuses a setting.
    """
    with keeping_objects():
        from tiny_mnist.training.checks import check_classes, check_optim

    distinct = {}
    for config in configs:
        settings = resolve_config(config)
        check_classes(settings)
        distinct[repr([settings["optim"], settings["model"]])] = settings
    for settings in distinct.values():
        check_optim(settings)


def is_sequential(config: DictConfig) -> bool:
    """Whether the jobs run one after the other in this process."""
    return str(config.hydra.launcher["_target_"]).endswith("BasicLauncher")


def check_launcher(config: DictConfig) -> None:
    """Check that this process may run a sweep, with the launcher that was chosen.

    Raises:
        UserError: it may not.
    """
    if env_world_size() > 1:
        raise UserError(
            "-m inside torchrun or srun would run the whole sweep in every process; sweep with "
            "trainer=ddp on one machine, or start the runs one by one"
        )
    if any("hydra.sweep.subdir=" in text for text in config.hydra.overrides.hydra):
        raise UserError(
            "hydra.sweep.subdir: a sweep names the folders of its jobs itself; hydra.sweep.dir=… "
            "is the folder of all"
        )
    jobs = OmegaConf.select(config, "hydra.launcher.n_jobs", default=1)
    if type(jobs) is not int or jobs == 0:
        raise UserError(
            "hydra.launcher.n_jobs should be a whole number other than 0; -1 uses all cores"
        )
    if str(config.hydra.launcher["_target_"]).endswith("SlurmLauncher") and not (
        shutil.which("sbatch") and shutil.which("srun")
    ):
        raise UserError("hydra/launcher=slurm needs Slurm's commands sbatch and srun, not found")


def saved_overrides(path: Path, config: DictConfig, loader: "ConfigLoader") -> list[str]:
    """The task overrides of a sweep that was begun, as `multirun.yaml` has them.

    The folder may come from a stranger. Nothing else of the file is used, and an override must be
    the choice of an option in a group of this program, by its plain name, or set a key that the
    composed configuration has.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"no sweep to resume: there is no {path}")
    # As they are written: no interpolation is followed.
    node = OmegaConf.to_container(load_config(path), resolve=False)
    try:
        texts = node["hydra"]["overrides"]["task"]  # type: ignore[index, call-overload]
        if not (isinstance(texts, list) and all(isinstance(each, str) for each in texts)):
            raise TypeError
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    except Exception as error:
        raise UserError(f"{path} does not hold the overrides of a sweep") from error
    for text, override in zip(texts, parsed, strict=True):
        if not is_permitted(text, override, config, loader):
            raise UserError(f"{path} holds {text[:80]!r}, which a sweep cannot take from a folder")
    return list(texts)


def is_permitted(text: str, override: Override, config: DictConfig, loader: "ConfigLoader") -> bool:
    """Whether an override that was read from a folder only sets or chooses what a run may have."""
    key = override.key_or_group
    if override.package is not None or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", key):
        return False
    if key in LAUNCH_KEYS or key.partition(".")[0] not in config or key.startswith("hydra"):
        return key in loader.list_groups("") and key != "hydra" and has_plain_options(override)
    if "_target_" in text or not text.isprintable():
        return False
    return not loader.get_group_options(key) or has_plain_options(override)


def has_plain_options(override: Override) -> bool:
    """Whether an override of a group chooses options by plain names."""
    value = override.value()
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            return False
        if isinstance(value, Glob):
            return True
        values: Any = list(override.sweep_string_iterator())
    else:
        values = value if isinstance(value, list) else [value]
    return all(
        each is None
        or re.fullmatch(r"[\w-]+", each.text if isinstance(each, QuotedString) else str(each))
        for each in values
    )
