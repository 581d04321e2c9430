"""Augmentation on whole batches: rotation and a shift by whole pixels, or a smooth warp.

What is done to an image is drawn by (seed, epoch, image) alone and applied later, on the training
device.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

SIDE = 28  # pixels on a side of an MNIST image
CENTRE = (SIDE - 1) / 2
FAR = 1e4  # pixels: beyond the frame, however it is turned
MEAN, STD = 0.1307, 0.3081  # of the MNIST training pixels on the 0–1 scale


class RotateShiftParams(NamedTuple):
    """How each image of a batch is moved: turned about its centre, then shifted."""

    angles: Float32[Tensor, " batch"]
    """Counter-clockwise, in radians."""
    shifts: Int64[Tensor, "batch 2"]
    """Pixels to the right and down."""

    def of(self, images: Int64[Tensor, " chosen"] | slice) -> "RotateShiftParams":
        """The motions of some of the images, by index."""
        return RotateShiftParams(self.angles[images], self.shifts[images])

    def to(self, device: torch.device) -> "RotateShiftParams":
        """The motions on another device."""
        return RotateShiftParams(self.angles.to(device), self.shifts.to(device))

    def apply(self, images: UInt8[Tensor, "batch 28 28"]) -> UInt8[Tensor, "batch 28 28"]:
        """The images, moved."""
        return rotate_and_shift(images, self)


class WarpParams(NamedTuple):
    """Where each pixel of a warped image comes from, in pixels from the centre."""

    maps: Float32[Tensor, "batch 2 3"]
    """Linear part and offset, from the warped image to the source."""
    displacements: Float32[Tensor, "batch 2 knots knots"]
    """To the right and down, added to that, at the knots of a grid over the whole image."""

    def of(self, images: Int64[Tensor, " chosen"] | slice) -> "WarpParams":
        """The warps of some of the images, by index."""
        return WarpParams(self.maps[images], self.displacements[images])

    def to(self, device: torch.device) -> "WarpParams":
        """The warps on another device."""
        return WarpParams(self.maps.to(device), self.displacements.to(device))

    def apply(self, images: UInt8[Tensor, "batch 28 28"]) -> UInt8[Tensor, "batch 28 28"]:
        """The images, warped."""
        return warp(images, self)


@dataclass(frozen=True)
class Augmentation:
    """How much the training images are varied; see `sample_rotate_shift` and `sample_warp`.

    Args:
        rotation: largest angle in degrees.
        translation: largest shift in pixels.
        scale: largest logarithm of the magnification, on each axis.
        shear: largest angle of the shear in degrees.
        elastic: standard deviation of the elastic displacements in pixels.
        sampling: "nearest" for rotation and shifts by whole pixels only, "bicubic" for warps.
    """

    rotation: float | int = 15
    translation: float | int = 2
    scale: float | int = 0
    shear: float | int = 0
    elastic: float | int = 0
    sampling: Literal["nearest", "bicubic"] = "nearest"

    def draw(self, count: int, generator: torch.Generator) -> RotateShiftParams | WarpParams | None:
        """What is done in one epoch to each of `count` images; None for nothing."""
        if not any((self.rotation, self.translation, self.scale, self.shear, self.elastic)):
            return None
        if self.sampling == "nearest":
            return sample_rotate_shift(count, self.rotation, self.translation, generator)
        return sample_warp(count, self, generator)


def make_generator(seed: int, purpose: int) -> torch.Generator:
    """A generator that depends on (seed, purpose) alone, whatever was drawn before.

    The purpose of an epoch is its number. `numpy.random.SeedSequence` mixes the two, so that
    neighbours share nothing.
    """
    (state,) = np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


def sample_rotate_shift(
    count: int, rotation: float | int, translation: float | int, generator: torch.Generator
) -> RotateShiftParams:
    """One motion for each of `count` images.

    Args:
        count: images in the whole training set.
        rotation: largest angle in degrees; angles are uniform in ±rotation.
        translation: largest shift in pixels; shifts are uniform in ±translation on each axis,
            then rounded to whole pixels, as in torchvision's `RandomAffine` (with 2, a shift of
            ±2 is half as likely as one of -1, 0 or 1).
        generator: the source of randomness.
    """
    angles = (2 * torch.rand(count, generator=generator) - 1) * math.radians(rotation)
    shifts = (2 * torch.rand(count, 2, generator=generator) - 1) * translation
    return RotateShiftParams(angles, shifts.round_().long())


def rotate_and_shift(
    images: UInt8[Tensor, "batch 28 28"], params: RotateShiftParams
) -> UInt8[Tensor, "batch 28 28"]:
    """Rotate, then shift, both with nearest-neighbour sampling and black fill.

    A shift by whole pixels needs no sampling of its own, so both become one look-up: each output
    pixel is followed back through the shift to the rotated image, where it is black if it lies
    outside the frame, and through the rotation to the pixel that it shows.
    """
    pixel = torch.arange(SIDE, device=images.device)
    x = from_centre(pixel - params.shifts[:, :1])[:, None, :]
    y = from_centre(pixel - params.shifts[:, 1:])[:, :, None]
    cos, sin = params.angles.cos()[:, None, None], params.angles.sin()[:, None, None]
    # Black lies around the image, one pixel wide: there ends all that comes from further outside.
    column = (cos * x - sin * y).add_(CENTRE).round_().clamp_(-1, SIDE)
    row = (sin * x + cos * y).add_(CENTRE).round_().clamp_(-1, SIDE)
    framed = F.pad(images, (1, 1, 1, 1)).flatten(1)
    source = row.add_(1).mul_(SIDE + 2).add_(column).add_(1)
    return framed.gather(1, source.long().flatten(1)).view_as(images)


def from_centre(coordinate: Int64[Tensor, "batch 28"]) -> Float32[Tensor, "batch 28"]:
    """Pixels from the centre of the rotated image; very far away outside of its frame.

    What was rotated out of the frame must not come back by the shift.
    """
    inside = (coordinate >= 0) & (coordinate < SIDE)
    return torch.where(inside, coordinate - CENTRE, FAR)


KNOTS = 7  # on a side of the grid of elastic displacements, 4.5 pixels apart


def sample_warp(count: int, most: Augmentation, generator: torch.Generator) -> WarpParams:
    """One warp for each of `count` images: rotation, shear, scale, shift and elastic displacement.

    All are uniform up to their largest values, independent, and not rounded; the displacements
    are normal (after P. Simard et al., "Best practices for convolutional neural networks applied to
    visual document analysis", 2003, on a coarse grid instead of a blurred field).
    """

    def uniform(largest: float | int) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * largest

    angle = uniform(math.radians(most.rotation))
    across, down = uniform(most.translation), uniform(most.translation)
    wide, high = uniform(most.scale).exp(), uniform(most.scale).exp()
    slant = uniform(math.radians(most.shear)).tan()
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * wide, (cos * slant - sin) * high, across], dim=1),
        torch.stack([sin * wide, (sin * slant + cos) * high, down], dim=1),
    ]
    displacements = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * most.elastic
    return WarpParams(torch.stack(rows, dim=1), displacements)


def warp(images: UInt8[Tensor, "batch 28 28"], params: WarpParams) -> UInt8[Tensor, "batch 28 28"]:
    """Resample each image once, with bicubic interpolation and black fill.

    Bicubic, because bilinear interpolation blurs, and the test images are sharp.
    """
    pixel = torch.arange(SIDE, device=images.device) - (SIDE - 1) / 2
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)])
    source = (params.maps @ places.flatten(1)).unflatten(2, (SIDE, SIDE))
    spread = spline(params.displacements.shape[-1]).to(images.device)
    source = source + spread @ params.displacements @ spread.T
    sampled = F.grid_sample(
        images.unsqueeze(1).float(),
        source.permute(0, 2, 3, 1) / (SIDE / 2),  # the image reaches from -1 to 1
        mode="bicubic",
        align_corners=False,
    )
    return sampled.squeeze(1).round_().clamp_(0, 255).byte()  # bicubic sampling overshoots


@functools.cache
def spline(knots: int) -> Float32[Tensor, "28 knots"]:
    """The matrix that interpolates values at evenly spaced knots to all pixels, cubically."""
    values = torch.eye(knots).view(knots, 1, knots, 1)
    at_pixels = F.interpolate(values, size=(SIDE, 1), mode="bicubic", align_corners=True)
    return at_pixels.view(knots, SIDE).T.contiguous()


def normalize(images: UInt8[Tensor, "batch 28 28"]) -> Float[Tensor, "batch 1 28 28"]:
    """Pixels 0–255 to zero mean and unit deviation over the training set, as network input."""
    return images.unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)
