"""What makes a step faster changes its result by float rounding only.

Pooling before the ReLU is in test_network.py, the batched augmentation in data/test_augment.py.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tiny_mnist.data.download import Mnist
from tiny_mnist.data.transforms import normalize
from tiny_mnist.models import tiny_cnn as network_module
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.memory import tune_malloc


def results(mnist: Mnist, memory_format: torch.memory_format) -> list[Tensor]:
    """Log-probabilities and all gradients of one training step.

    In double precision: in single, rounding decides which of the equal pixels of a black background
    a pool passes its gradient to.
    """
    torch.manual_seed(0)
    network = TinyCNN().double().to(memory_format=memory_format)
    log_probs = network(normalize(mnist.train_images[:128]).double())
    F.nll_loss(log_probs, mnist.train_labels[:128]).backward()
    return [log_probs.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def test_channels_last_computes_the_same_step(mnist: Mnist) -> None:
    plain, fast = (results(mnist, f) for f in (torch.contiguous_format, torch.channels_last))
    assert len(plain) == 27  # two for each of 6 convolutions, 6 norms and the linear layer, and one
    torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-10)


def test_onednns_layout_computes_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    network = TinyCNN().to(memory_format=torch.channels_last)
    images = torch.randn(128, 1, 28, 28)  # noise: no two pixels are equal in a pool
    if not network_module.fits_onednn(images):
        pytest.skip("for x86 only")

    def step() -> list[Tensor]:
        network.zero_grad()
        log_probs = network(images)
        F.nll_loss(log_probs, torch.arange(128) % 10).backward()
        # A bias before a batch norm has no effect; its gradient is rounding alone.
        used = [p for name, p in network.named_parameters() if not name.endswith(".0.bias")]
        return [log_probs.detach(), *(p.grad.clone() for p in used if p.grad is not None)]

    fast, again = step(), step()
    monkeypatch.setattr(network_module, "fits_onednn", lambda images: False)
    plain = step()
    assert len(plain) == 21
    for x, y, z in zip(fast, again, plain, strict=True):
        assert x.equal(y)
        assert (x - z).norm() < 1e-4 * z.norm()
    assert not fast[1].equal(plain[1]), "the two layouts were indeed two"
    # The fused optimizer walks through both in the order of memory.
    assert all(p.grad is not None and p.grad.stride() == p.stride() for p in network.parameters())


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


def test_kept_memory_changes_no_bit(mnist: Mnist) -> None:
    before = results(mnist, torch.channels_last)
    tune_malloc()
    after = results(mnist, torch.channels_last)
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
