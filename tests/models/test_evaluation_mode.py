"""Evaluating a network leaves the mode of each of its layers as it was."""

import pytest
from torch import nn

from tiny_mnist.models.evaluation_mode import evaluation_mode


def test_a_frozen_layer_stays_frozen() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1).eval(), nn.Dropout())
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == [True, False, True]


def test_modes_are_restored_after_an_error() -> None:
    network = nn.Dropout()
    with pytest.raises(ValueError, match="broken"), evaluation_mode(network):
        raise ValueError("broken")
    assert network.training
