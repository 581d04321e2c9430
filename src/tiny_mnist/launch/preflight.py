"""Checks of a single run before Hydra creates its folder."""

import shlex
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.config.trust import read_trust_flag
from tiny_mnist.errors import UserError, display_path
from tiny_mnist.launch.stop import stopping
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.sweeps.job import resume_override
from tiny_mnist.system.memory import keeping_objects
from tiny_mnist.system.processes import is_rank_zero


class PreflightCallback(Callback):
    """Refuses a run that cannot begin, before Hydra creates its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the configuration and the folder, and show that the run begins."""
        # Hydra turns the exceptions of callbacks into warnings; these must end the program.
        with stopping():
            read_trust_flag(config)
            folder = Path(config.hydra.run.dir)
            with read_write(config.hydra):  # from here on, the folder is looked up no more
                config.hydra.run.dir = str(folder)
            if config.get("resume") is None:
                self.check_new_run(config, folder)
            else:
                RunFolder(folder).check_no_links()
                print_folder(folder)

    def check_new_run(self, config: DictConfig, folder: Path) -> None:
        """Check the configuration of a new run, and that it may use its folder.

        Raises:
            UserError: a setting is refused, or another run is in the folder.
        """
        settings = resolve_config(config)
        validate(settings)
        if is_rank_zero():
            check_new_folder(RunFolder(folder))
        print_folder(folder)  # before PyTorch is loaded, which takes seconds
        with keeping_objects():
            from tiny_mnist.training.checks import check_classes, check_optim

        check_classes(settings)
        check_optim(settings)


def print_folder(folder: Path) -> None:
    """Show that a run begins."""
    if is_rank_zero():
        print(f"Run folder: {display_path(folder)}", flush=True)


def check_new_folder(run: RunFolder) -> None:
    """Check that a new run may use its folder.

    Raises:
        UserError: another run is there.
    """
    if run.is_locked:
        raise UserError(f"another process is training in {run.path}")
    if run.has_results:
        raise UserError(
            f"{run.path} already holds a run; choose another hydra.run.dir, or go on with "
            f"{shlex.quote(resume_override(run.path))}"
        )
    if any(run.path.glob("*/.hydra")) or run.path.resolve() == Path.cwd():
        raise UserError(
            f"hydra.run.dir={run.path} holds more than one run would leave; "
            "name a folder of its own"
        )
