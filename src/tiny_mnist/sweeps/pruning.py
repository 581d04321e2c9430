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
        self.reported: set[int] = set()
        """Epochs whose accuracy the study has."""
        self.accuracy: float | None = None
        """Of the last evaluation in the current epoch."""

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
        """Keep the accuracy until the epoch ends, or report it where the epochs are over."""
        value = trainer.callback_metrics.get("val_accuracy")
        if self.trial is None or value is None or trainer.sanity_checking:
            return
        if trainer.state.fn is TrainerFn.FITTING:
            self.accuracy = float(value)
        else:  # all epochs are counted already
            self.report(trainer.current_epoch, float(value))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the accuracy of the last evaluation in this epoch, if there was one.

        Raises:
            TrialPruned: the accuracy is too far behind that of other trials.
        """
        if self.accuracy is None:
            return
        epoch, accuracy = trainer.current_epoch + 1, self.accuracy
        self.accuracy = None
        self.report(epoch, accuracy)
        if self.prune and epoch < (trainer.max_epochs or 0) and self.trial.should_prune():
            raise TrialPruned(f"{accuracy:.2f} % after epoch {epoch}")

    def report(self, epoch: int, accuracy: float) -> None:
        """Report the accuracy of an epoch once; epochs count from 1."""
        if epoch not in self.reported:
            self.trial.report(accuracy, epoch)
            self.reported.add(epoch)
