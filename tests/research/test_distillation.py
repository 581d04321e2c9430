"""Distillation: the gradient of its loss, and what it leaves alone."""

import warnings

import lightning.pytorch as pl
import pytest
import torch
from research.distillation import Distillation
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tiny_mnist.training.lit_module import LitClassifier

TEMPERATURE, WEIGHT = 2.0, 0.9


def make_network() -> nn.Module:
    """A linear classifier of 4×4 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.LogSoftmax(dim=1))


def test_a_step_descends_the_loss_of_labels_and_teachers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    teachers = {name: make_network().eval() for name in ("a", "b")}
    monkeypatch.setattr("research.distillation.load_network", lambda path: teachers[path.name])
    network = make_network()
    begun = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images, labels = torch.randn(32, 1, 4, 4), torch.randint(10, (32,))
    callback = Distillation(["a", "b"], temperature=TEMPERATURE, weight=WEIGHT)
    module = LitClassifier(network, lambda parameters: torch.optim.SGD(parameters, lr=1.0))
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[callback], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = DataLoader(TensorDataset(images, labels), batch_size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning advises more workers
        trainer.fit(module, batches, batches)

    expected = make_network()
    expected.load_state_dict(begun)
    log_probs = expected(images)
    read = F.log_softmax(log_probs / TEMPERATURE, dim=1)
    with torch.no_grad():
        wanted = sum(
            F.softmax(teacher(images) / TEMPERATURE, dim=1) for teacher in teachers.values()
        )
    cross_entropy = -(wanted / 2 * read).sum(dim=1).mean()
    loss = (1 - WEIGHT) * F.nll_loss(log_probs, labels) + WEIGHT * TEMPERATURE**2 * cross_entropy
    loss.backward()
    for trained, parameter in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(trained.detach(), parameter.detach() - parameter.grad)

    # The metrics of the epoch are those of the labels, and nothing is left on the network.
    assert module.results["train_loss"] == pytest.approx(F.nll_loss(log_probs, labels).item())
    network(images).sum().backward()
    assert not network._forward_hooks
