"""The base of callbacks that need the final metrics of an epoch."""

from lightning.pytorch.callbacks import Checkpoint


class EpochEndCallback(Checkpoint):
    """A callback whose `on_train_epoch_end` comes after that of the LightningModule.

    Lightning calls callbacks before the module, except those that derive from `Checkpoint`.
    """
