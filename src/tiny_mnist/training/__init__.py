"""The LightningModule, its callbacks and the training function."""
