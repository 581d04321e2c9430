"""The original's optimizer and schedule, for the loops that are compared with the program."""

from torch import nn
from torch.optim import Adagrad
from torch.optim.lr_scheduler import OneCycleLR

MAX_LR, DIV_FACTOR, PCT_START = 0.75, 7.5, 0.3
TOTAL_STEPS = 4690  # of ten epochs


def adagrad(model: nn.Module, fused: bool = False) -> tuple[Adagrad, OneCycleLR]:
    """Adagrad for all parameters, and the one-cycle schedule."""
    optimizer = Adagrad(model.parameters(), lr=MAX_LR, fused=fused)
    schedule = OneCycleLR(
        optimizer, MAX_LR, total_steps=TOTAL_STEPS, pct_start=PCT_START,
        div_factor=DIV_FACTOR, final_div_factor=DIV_FACTOR, cycle_momentum=False,
    )  # fmt: skip
    return optimizer, schedule
