"""The network is the original's, layer by layer."""

import torch

from tiny_mnist.models import TinyCNN, parameter_count
from tiny_mnist.training.tables import network_rows


def test_parameter_count_is_the_originals() -> None:
    assert parameter_count(TinyCNN()) == 9_594
    assert parameter_count(TinyCNN(width=24)) == 83_290


def test_network_table_shows_the_originals_layers_shapes_and_counts() -> None:
    assert network_rows(TinyCNN()) == [
        ("input", "image", "28×28×1", ""),
        ("block1", "Conv2d(1→8, 3×3) → BatchNorm → ReLU", "26×26×8", "80 + 16"),
        ("", "Conv2d(8→16, 3×3) → BatchNorm → ReLU", "24×24×16", "1,168 + 32"),
        ("", "MaxPool2d(2×2)", "12×12×16", ""),
        ("block2", "Conv2d(16→16, 3×3) → BatchNorm → ReLU", "10×10×16", "2,320 + 32"),
        ("", "Conv2d(16→16, 3×3) → BatchNorm → ReLU", "8×8×16", "2,320 + 32"),
        ("", "MaxPool2d(2×2)", "4×4×16", ""),
        ("block3", "Conv2d(16→16, 3×3) → BatchNorm → ReLU", "2×2×16", "2,320 + 32"),
        ("", "Conv2d(16→16, 2×2) → BatchNorm → ReLU", "1×1×16", "1,040 + 32"),
        ("head", "Linear(16→10)", "10", "170"),
        ("", "LogSoftmax", "10", ""),
    ]


def test_output_is_log_probabilities() -> None:
    log_probs = TinyCNN()(torch.randn(7, 1, 28, 28))
    assert log_probs.shape == (7, 10)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(7))
