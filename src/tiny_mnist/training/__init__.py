"""Training: the LightningModule, its callbacks and the training function."""
