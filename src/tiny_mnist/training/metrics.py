"""The metric that training and evaluation report."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics import Metric


class LossAndAccuracy(Metric):
    """Mean loss and accuracy over images, summed over processes.

    The original averages its losses over batches, of which the last is smaller; the two differ by
    less than 1e-4. One metric instead of torchmetrics' own pair, because it is updated every few
    milliseconds.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        loss: Float[Tensor, ""],
        log_probs: Float[Tensor, "batch classes"],
        labels: Int64[Tensor, " batch"],
    ) -> None:
        """Add one batch, given its mean loss; an empty batch, whose mean is NaN, is ignored."""
        if not len(labels):
            return
        self.loss_sum += loss * len(labels)
        self.correct += (log_probs.argmax(dim=1) == labels).sum()
        self.images += len(labels)

    def compute(self) -> dict[str, float]:
        """Mean loss, accuracy in percent and number of images since the last reset.

        NaN before any image.
        """
        images = self.images.item() or math.nan
        return {
            "loss": self.loss_sum.item() / images,
            "accuracy": 100 * self.correct.item() / images,
            "images": images,
        }
