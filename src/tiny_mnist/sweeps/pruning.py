"""A Lightning callback that reports each epoch of a trial to Optuna, and ends hopeless trials."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.trainer.states import TrainerFn

from tiny_mnist.runs.folder import job_number
from tiny_mnist.sweeps.job import TrialPruned


class PruningCallback(pl.Callback):
    """Report the validation accuracy of each epoch to the study of the sweep.

    The study and the trial follow from Hydra's configuration: the sweep folder, and the number that
    the job directory begins with. In a run that is not a job of a sweep, nothing is reported.

    Args:
        prune: whether to end the trial when the pruner of the sweep says so; never after its last
            epoch.
    """

    def __init__(self, prune: bool = True) -> None:
        self.prune = prune
        self.trial: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the trial."""
        if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
            return
        from tiny_mnist.sweeps.optuna_study import load_study, reopen_trial

        hydra = HydraConfig.get()
        study = load_study(hydra.sweeper, Path(hydra.sweep.dir))
        number = job_number(Path(hydra.runtime.output_dir))
        found = study.get_trials(deepcopy=False)[number]
        self.reported = set(found.intermediate_values)
        self.trial = reopen_trial(study, found)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the accuracy of the epoch.

        Raises:
            TrialPruned: the accuracy is too far behind that of other trials.
        """
        value = trainer.callback_metrics.get("val_accuracy")
        if self.trial is None or value is None or trainer.sanity_checking:
            return
        is_fitting = trainer.state.fn is TrainerFn.FITTING  # else all epochs are counted already
        epoch, accuracy = trainer.current_epoch + is_fitting, float(value)
        if epoch not in self.reported:
            self.trial.report(accuracy, epoch)
        is_last = not is_fitting or epoch >= (trainer.max_epochs or 0)
        if self.prune and not is_last and self.trial.should_prune():
            raise TrialPruned(f"{accuracy:.2f} % after epoch {epoch}")
