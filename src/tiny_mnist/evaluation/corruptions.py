"""Seeded corruptions of raw images, which measure the robustness of a trained network.

After D. Hendrycks and T. Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations*, ICLR 2019, with kinds and strengths for images of 28×28 pixels. Every call
draws the same random numbers, so all networks are measured on the same images.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

from tiny_mnist.data.transforms import SIDE, make_generator

SEED = 20210  # of all corruptions; each kind and strength draws from a generator of its own

Corrupt = Callable[[UInt8[Tensor, "n 28 28"], float, torch.Generator], UInt8[Tensor, "n 28 28"]]


def noise(
    images: UInt8[Tensor, "n 28 28"], deviation: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Add Gaussian noise to every pixel; `deviation` is in grey levels of 255."""
    added = deviation * torch.randn(images.shape, generator=generator)
    return to_grey_levels(images + added)


def blur(
    images: UInt8[Tensor, "n 28 28"], sigma: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Blur with a Gaussian of `sigma` pixels; deterministic."""
    size = 2 * math.ceil(3 * sigma) + 1
    blurred: Tensor = vision.gaussian_blur(images[:, None], [size, size], [sigma, sigma])
    return blurred[:, 0]


def shift(
    images: UInt8[Tensor, "n 28 28"], pixels: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Shift by `pixels` in a random direction."""
    direction = 2 * math.pi * torch.rand(len(images), generator=generator)
    identity = torch.eye(2).expand(len(images), 2, 2)
    return warp(images, identity, pixels * torch.stack([direction.cos(), direction.sin()], 1))


def rotation(
    images: UInt8[Tensor, "n 28 28"], degrees: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Rotate about the centre by `degrees`, clockwise or counterclockwise at random."""
    angles = math.radians(degrees) * signs(len(images), generator)
    cos, sin = angles.cos(), angles.sin()
    return warp(images, torch.stack([cos, sin, -sin, cos], 1).reshape(-1, 2, 2))


def scale(
    images: UInt8[Tensor, "n 28 28"], factor: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Magnify or shrink by `factor`, at random."""
    factors = factor ** signs(len(images), generator)
    return warp(images, torch.eye(2) / factors[:, None, None])


def contrast(
    images: UInt8[Tensor, "n 28 28"], share: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Blend every image with its mean, keeping `share` of the contrast."""
    faded: Tensor = vision.adjust_contrast(images[:, None], share)
    return faded[:, 0]


def occlusion(
    images: UInt8[Tensor, "n 28 28"], side: float, generator: torch.Generator
) -> UInt8[Tensor, "n 28 28"]:
    """Black out a square of `side` pixels, at random within the central 20×20 pixels."""
    margin = (SIDE - 20) // 2
    corner = torch.randint(margin, SIDE - margin - int(side) + 1, (len(images), 2, 1),
                           generator=generator)  # fmt: skip
    pixel = torch.arange(SIDE)
    row, column = ((pixel >= corner) & (pixel < corner + int(side))).unbind(1)
    return images.masked_fill(row[:, :, None] & column[:, None, :], 0)


class Corruption(NamedTuple):
    """One kind of corruption and its three strengths, weak to strong."""

    apply: Corrupt
    strengths: tuple[float, float, float]
    unit: str


CORRUPTIONS = {
    "noise": Corruption(noise, (25.0, 50.0, 75.0), "grey levels of 255"),
    "blur": Corruption(blur, (0.75, 1.25, 1.75), "pixels"),
    "shift": Corruption(shift, (2.0, 3.0, 4.0), "pixels"),
    "rotation": Corruption(rotation, (15.0, 25.0, 35.0), "degrees"),
    "scale": Corruption(scale, (1.15, 1.3, 1.45), "times larger or smaller"),
    "contrast": Corruption(contrast, (0.7, 0.5, 0.3), "of the contrast kept"),
    "occlusion": Corruption(occlusion, (4.0, 6.0, 8.0), "pixels on a side"),
}


def corrupt(images: UInt8[Tensor, "n 28 28"], kind: str, level: int) -> UInt8[Tensor, "n 28 28"]:
    """Apply one of `CORRUPTIONS` at level 0, 1 or 2; every call gives the same result."""
    stream = 10 * list(CORRUPTIONS).index(kind) + level
    corruption = CORRUPTIONS[kind]
    return corruption.apply(images, corruption.strengths[level], make_generator(SEED, stream))


def warp(
    images: UInt8[Tensor, "n 28 28"],
    matrices: Float[Tensor, "n 2 2"],
    shifts: Float[Tensor, "n 2"] | None = None,
) -> UInt8[Tensor, "n 28 28"]:
    """Sample pixel (x, y), from the centre, at `matrices @ (x, y) - shifts`; black outside."""
    offsets = torch.zeros(len(images), 2) if shifts is None else shifts
    theta = torch.cat([matrices, -offsets[:, :, None] / (SIDE / 2)], dim=2)
    grid = F.affine_grid(theta, [len(images), 1, SIDE, SIDE], align_corners=False)
    moved = F.grid_sample(images[:, None].float(), grid, align_corners=False)
    return to_grey_levels(moved[:, 0])


def to_grey_levels(pixels: Float[Tensor, "n 28 28"]) -> UInt8[Tensor, "n 28 28"]:
    """Round to grey levels 0–255."""
    return pixels.round().clamp(0, 255).to(torch.uint8)


def signs(count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
    """Random signs, ±1."""
    coins: Int64[Tensor, " count"] = torch.randint(2, (count,), generator=generator)
    return 2.0 * coins - 1
