"""Memory layouts and the fused optimizer change a training step by float rounding only."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.transforms import normalize
from tiny_mnist.models import TinyCNN
from tiny_mnist.models.cpu_layout import fits_onednn, use_onednn_layout
from tiny_mnist.system.memory import tune_malloc


def results(mnist: LabelledImages, memory_format: torch.memory_format) -> list[Tensor]:
    """Log-probabilities and all gradients of one training step.

    In double precision: in single, rounding decides which of the equal pixels of a black background
    a pool passes its gradient to.
    """
    torch.manual_seed(0)
    network = TinyCNN().double().to(memory_format=memory_format)
    log_probs = network(normalize(mnist.train_images[:128], mnist.info).double())
    F.nll_loss(log_probs, mnist.train_labels[:128]).backward()
    return [log_probs.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def test_channels_last_computes_the_same_step(mnist: LabelledImages) -> None:
    plain, fast = (results(mnist, f) for f in (torch.contiguous_format, torch.channels_last))
    assert len(plain) == 27  # two for each of 6 convolutions, 6 norms and the linear layer, and one
    torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-10)


def distinct_images() -> Tensor:
    """Noise on which no pool has two candidates that rounding could swap."""
    return torch.randn(128, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def gradients(network: nn.Module) -> list[Tensor]:
    """Log-probabilities and gradients of one training step on noise.

    Without those of biases before a batch norm, which have no effect: their gradient is rounding.
    """
    network.zero_grad()
    log_probs = network(distinct_images())
    F.nll_loss(log_probs, torch.arange(128) % 10).backward()
    used = [p for name, p in network.named_parameters() if not name.endswith(".0.bias")]
    return [log_probs.detach(), *(p.grad.clone() for p in used if p.grad is not None)]


@pytest.mark.skipif(not fits_onednn(torch.zeros(1)), reason="for x86 only")
def test_onednns_layout_computes_the_same_step() -> None:
    torch.manual_seed(1)
    plain = TinyCNN().to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    assert use_onednn_layout(fast)
    expected, found, again = gradients(plain), gradients(fast), gradients(fast)
    assert len(expected) == 21
    for x, y, z in zip(found, again, expected, strict=True):
        assert x.equal(y)
        assert (x - z).norm() < 1e-2 * z.norm()  # a swapped candidate of a pool moves a gradient
    assert not found[1].equal(expected[1]), "the two layouts were indeed two"
    # The fused optimizer walks through both in the order of memory.
    for weight in (p for p in fast.parameters() if p.dim() == 4):
        assert weight.grad is not None
        assert weight.grad.is_contiguous(memory_format=torch.channels_last)


def test_onednns_layout_changes_no_name_and_no_evaluation() -> None:
    network = TinyCNN().eval()
    images = distinct_images()
    names, before = [*network.state_dict()], network(images)
    use_onednn_layout(network)
    assert [*network.state_dict()] == names
    assert network(images).equal(before)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),  # no part that needs another layout
        nn.Bilinear(2, 2, 2),
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), nn.Flatten()),
        nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.Flatten()),
        nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.Flatten()),
    ],
)
def test_onednns_layout_leaves_other_networks_alone(network: nn.Module) -> None:
    assert not use_onednn_layout(network)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_onednns_layout_covers_the_convolutions_of_another_network() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.5), nn.Flatten(),
        nn.Linear(4 * 13 * 13, 10),
    )  # fmt: skip
    assert use_onednn_layout(network)
    network(distinct_images()).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_fused_optimizer_makes_the_same_updates() -> None:
    def updated(fused: bool) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.zeros(1000))
        optimizer = torch.optim.Adagrad([weight], lr=0.1, fused=fused)
        for _ in range(20):
            weight.grad = torch.randn(1000, generator=generator)
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(updated(fused=True), updated(fused=False))


def test_malloc_tuning_changes_no_bit(mnist: LabelledImages) -> None:
    before = results(mnist, torch.channels_last)
    tune_malloc()
    after = results(mnist, torch.channels_last)
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
