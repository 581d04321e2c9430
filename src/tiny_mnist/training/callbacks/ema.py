"""A moving average of the weights that a resumed run keeps, too."""

import lightning.pytorch as pl
from lightning.pytorch import callbacks


class EMAWeightAveraging(callbacks.EMAWeightAveraging):
    """Lightning's callback, for runs that are resumed after their last epoch.

    Lightning copies the average into the module when training ends. A run that was killed after the
    checkpoint of its last epoch trains no more when it is resumed, and would be evaluated with the
    weights that were trained instead.
    """

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the average, also where there was nothing left to train."""
        self._copy_average_to_current(pl_module)
