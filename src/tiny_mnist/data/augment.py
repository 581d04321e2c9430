"""Augmentation on whole batches: random rotation, then a random shift by whole pixels.

An image's motion is drawn by (seed, epoch, image) alone and applied later, on the training device.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

SIDE = 28  # pixels on a side of an MNIST image
CENTRE = (SIDE - 1) / 2
FAR = 1e4  # pixels: beyond the frame, however it is turned
MEAN, STD = 0.1307, 0.3081  # of the MNIST training pixels on the 0–1 scale


class Motions(NamedTuple):
    """How each image of a batch is moved: turned about its centre, then shifted."""

    angles: Float32[Tensor, " batch"]
    """Counter-clockwise, in radians."""
    shifts: Int64[Tensor, "batch 2"]
    """Pixels to the right and down."""

    def of(self, images: Int64[Tensor, " chosen"]) -> "Motions":
        """The motions of some of the images, by index."""
        return Motions(self.angles[images], self.shifts[images])


def generator_of(seed: int, purpose: int) -> torch.Generator:
    """A generator that depends on (seed, purpose) alone, whatever was drawn before.

    The purpose of an epoch is its number. `numpy.random.SeedSequence` mixes the two, so that
    neighbours share nothing.
    """
    (state,) = np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


def draw_motions(
    count: int, rotation: float | int, translation: float | int, generator: torch.Generator
) -> Motions:
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
    return Motions(angles, shifts.round_().long())


def move(images: UInt8[Tensor, "batch 28 28"], motions: Motions) -> UInt8[Tensor, "batch 28 28"]:
    """Rotate, then shift, both with nearest-neighbour sampling and black fill.

    A shift by whole pixels needs no sampling of its own, so both become one look-up: each output
    pixel is followed back through the shift to the rotated image, where it is black if it lies
    outside the frame, and through the rotation to the pixel that it shows.
    """
    pixel = torch.arange(SIDE, device=images.device)
    x = from_centre(pixel - motions.shifts[:, :1])[:, None, :]
    y = from_centre(pixel - motions.shifts[:, 1:])[:, :, None]
    cos, sin = motions.angles.cos()[:, None, None], motions.angles.sin()[:, None, None]
    # Black lies around the image, one pixel wide: there ends all that comes from further outside.
    column = (cos * x - sin * y).add_(CENTRE).round_().clamp_(-1, SIDE)
    row = (sin * x + cos * y).add_(CENTRE).round_().clamp_(-1, SIDE)
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1)).flatten(1)
    source = row.add_(1).mul_(SIDE + 2).add_(column).add_(1)
    return framed.gather(1, source.long().flatten(1)).view_as(images)


def from_centre(coordinate: Int64[Tensor, "batch 28"]) -> Float32[Tensor, "batch 28"]:
    """Pixels from the centre of the rotated image; very far away outside of its frame.

    What was rotated out of the frame must not come back by the shift.
    """
    inside = (coordinate >= 0) & (coordinate < SIDE)
    return torch.where(inside, coordinate - CENTRE, FAR)


def normalize(images: UInt8[Tensor, "batch 28 28"]) -> Float[Tensor, "batch 1 28 28"]:
    """Pixels 0–255 to zero mean and unit deviation over the training set, as network input."""
    return images.unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)
