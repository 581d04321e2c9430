r"""Distillation: the network learns from the answers of trained teachers, too.

    python train.py \
        '+callbacks.distillation={_target_:research.distillation.Distillation,teachers:[RUN]}'

RUN is the folder of a teacher's run, such as one of `python train.py model.width=24`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from tiny_mnist.runs.network import load_network
from tiny_mnist.training.builders import choose_layout


class Distillation(pl.Callback):
    """Lets the loss of each training step be the one of Hinton et al. (arXiv 1503.02531).

    It is (1 - weight) · NLL(labels) + weight · temperature² · H(p, q), with the cross-entropy H of
    the teachers' mean probabilities p and the network's q, both at this temperature. The teachers
    see the augmented images of the step. The logged training loss stays that of the labels.

    Args:
        teachers: run folders of networks for the same images.
        temperature: divides log-probabilities before they become p and q; above 0.
        weight: share of the teachers in the loss, from 0 to 1.

    Raises:
        UserError: the folder of a teacher has no trained network.
    """

    def __init__(
        self, teachers: Sequence[str | Path], temperature: float = 2.0, weight: float = 0.9
    ) -> None:
        self.teachers = [load_network(Path(teacher)) for teacher in teachers]
        self.temperature, self.weight = temperature, weight
        self.handle: RemovableHandle | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the teachers to the network's device and layout, and watch its answers."""
        for teacher in self.teachers:
            choose_layout(teacher.to(pl_module.device), trainer)
        network: Any = pl_module.network
        self.handle = network.register_forward_hook(self.add_teachers)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch no longer."""
        if self.handle is not None:
            self.handle.remove()

    def add_teachers(self, network: nn.Module, inputs: tuple[Tensor], log_probs: Tensor) -> None:
        """Change the gradient of the loss by the network's answers to that of both losses."""
        if not (network.training and log_probs.requires_grad):
            return
        wanted = self.mean_probs(inputs[0])
        read = F.softmax(log_probs.detach() / self.temperature, dim=1)
        # Of temperature² · H(p, q) of log-probabilities, which are logits of the same q.
        distilled = self.temperature * (read - wanted) / len(read)
        log_probs.register_hook(lambda given: torch.lerp(given, distilled, self.weight))

    @torch.no_grad()
    def mean_probs(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Mean probabilities of the teachers at the temperature."""
        answers = [F.softmax(teacher(images) / self.temperature, 1) for teacher in self.teachers]
        return torch.stack(answers).mean(dim=0)
