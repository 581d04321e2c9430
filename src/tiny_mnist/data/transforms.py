"""Augmentation of whole batches: rotation and shift by whole pixels, or a smooth warp.

The parameters of each image are a function of (seed, epoch, image). They are sampled on the CPU for
a whole epoch and applied batch by batch on the training device.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from tiny_mnist.data.datasets import DatasetInfo

SIDE = 28  # height and width of an image in pixels
CENTRE = (SIDE - 1) / 2
OUTSIDE = 1e4  # pixels from the centre: outside the image after any rotation
KNOTS = 7  # height and width of the grid of elastic displacements; 4.5 pixels between knots


class RotateShiftParams(NamedTuple):
    """Rotation of each image about its centre, then a shift; some are mirrored before."""

    angles: Float32[Tensor, " batch"]
    """Counter-clockwise, in radians."""
    shifts: Int64[Tensor, "batch 2"]
    """Pixels to the right and down."""
    signs: Float32[Tensor, " batch"] | None = None
    """-1 where left and right change places, else 1; None for no image."""

    def select(self, indices: Int64[Tensor, " selected"] | slice) -> "RotateShiftParams":
        """The parameters of some of the images."""
        signs = None if self.signs is None else self.signs[indices]
        return RotateShiftParams(self.angles[indices], self.shifts[indices], signs)

    def to(self, device: torch.device) -> "RotateShiftParams":
        """A copy on another device."""
        signs = None if self.signs is None else self.signs.to(device)
        return RotateShiftParams(self.angles.to(device), self.shifts.to(device), signs)

    def flip(self, flipped: Bool[Tensor, " batch"]) -> "RotateShiftParams":
        """The same for images of which some are mirrored before."""
        return self._replace(signs=torch.where(flipped, -1.0, 1.0))

    def apply(self, images: UInt8[Tensor, "batch 28 28"]) -> UInt8[Tensor, "batch 28 28"]:
        """The mirrored, rotated and shifted images."""
        return rotate_and_shift(images, self)


class WarpParams(NamedTuple):
    """Affine map and elastic displacement of each image, from output to input coordinates.

    Coordinates are in pixels from the centre of the image, to the right and down.
    """

    maps: Float32[Tensor, "batch 2 3"]
    """Linear part and offset."""
    displacements: Float32[Tensor, "batch 2 knots knots"]
    """Added to the mapped coordinates, at the knots of a grid over the whole image."""

    def select(self, indices: Int64[Tensor, " selected"] | slice) -> "WarpParams":
        """The parameters of some of the images."""
        return WarpParams(self.maps[indices], self.displacements[indices])

    def to(self, device: torch.device) -> "WarpParams":
        """A copy on another device."""
        return WarpParams(self.maps.to(device), self.displacements.to(device))

    def flip(self, flipped: Bool[Tensor, " batch"]) -> "WarpParams":
        """The same for images of which some are mirrored before."""
        signs = torch.ones(len(flipped), 2, 1)
        signs[flipped, 0] = -1
        return WarpParams(self.maps * signs, self.displacements * signs[..., None])

    def apply(self, images: UInt8[Tensor, "batch 28 28"]) -> UInt8[Tensor, "batch 28 28"]:
        """The warped images."""
        return warp(images, self)


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the augmentation parameters; see `sample_rotate_shift` and `sample_warp`.

    By default, nothing is augmented.

    Args:
        rotation: the largest angle in degrees.
        translation: the largest shift in pixels.
        scale: the largest absolute logarithm of the magnification, on each axis.
        shear: the largest shear angle in degrees.
        elastic: the standard deviation of the elastic displacements in pixels.
        sampling: "nearest" for rotations and shifts by whole pixels, which ignores `scale`, `shear`
            and `elastic`; "bicubic" for warps.
        flip: the probability that left and right change places.
    """

    rotation: float | int = 0
    translation: float | int = 0
    scale: float | int = 0
    shear: float | int = 0
    elastic: float | int = 0
    sampling: Literal["nearest", "bicubic"] = "nearest"
    flip: float | int = 0

    def sample(
        self, count: int, generator: torch.Generator
    ) -> RotateShiftParams | WarpParams | None:
        """Parameters of one epoch for `count` images; None if all ranges are 0."""
        if not any(
            (self.rotation, self.translation, self.scale, self.shear, self.elastic, self.flip)
        ):
            return None
        params: RotateShiftParams | WarpParams
        if self.sampling == "nearest":
            params = sample_rotate_shift(count, self.rotation, self.translation, generator)
        else:
            params = sample_warp(count, self, generator)
        if not self.flip:  # draws no number
            return params
        return params.flip(torch.rand(count, generator=generator) < self.flip)


def make_generator(seed: int, stream: int) -> torch.Generator:
    """A random generator that is a function of (seed, stream).

    The stream of an epoch is its number. `numpy.random.SeedSequence` mixes both numbers, so that
    generators of neighbouring numbers are independent.
    """
    (state,) = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


def sample_rotate_shift(
    count: int, rotation: float | int, translation: float | int, generator: torch.Generator
) -> RotateShiftParams:
    """Sample a rotation and a shift for each image.

    Args:
        count: number of images.
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
    """Mirror some images, rotate, then shift, with nearest-neighbour sampling and black fill.

    All are one look-up, because a shift by whole pixels needs no interpolation: the coordinates of
    each output pixel are mapped back through the shift to the rotated image, and through the
    rotation to the input image. A pixel outside either image is black.
    """
    pixel = torch.arange(SIDE, device=images.device)
    x = from_centre(pixel - params.shifts[:, :1])[:, None, :]
    y = from_centre(pixel - params.shifts[:, 1:])[:, :, None]
    cos, sin = params.angles.cos()[:, None, None], params.angles.sin()[:, None, None]
    # A black border, one pixel wide, stands for everything outside the image.
    across = cos * x - sin * y
    if params.signs is not None:
        across *= params.signs[:, None, None]
    column = across.add_(CENTRE).round_().clamp_(-1, SIDE)
    row = (sin * x + cos * y).add_(CENTRE).round_().clamp_(-1, SIDE)
    padded = F.pad(images, (1, 1, 1, 1)).flatten(1)
    source = row.add_(1).mul_(SIDE + 2).add_(column).add_(1)
    return padded.gather(1, source.long().flatten(1)).view_as(images)


def from_centre(coordinate: Int64[Tensor, "batch 28"]) -> Float32[Tensor, "batch 28"]:
    """Pixels from the centre of the rotated image; `OUTSIDE` for coordinates outside that image.

    A pixel that was rotated out of the image must stay black when the shift moves it back inside.
    """
    inside = (coordinate >= 0) & (coordinate < SIDE)
    return torch.where(inside, coordinate - CENTRE, OUTSIDE)


def sample_warp(count: int, ranges: Augmentation, generator: torch.Generator) -> WarpParams:
    """Sample rotation, shear, scale, shift and elastic displacement for each of `count` images.

    All are independent and not rounded. Displacements are normal, the others uniform. The elastic
    displacement follows P. Simard et al., "Best practices for convolutional neural networks applied
    to visual document analysis", 2003, with a coarse grid instead of a blurred field.
    """

    def uniform(largest: float | int) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * largest

    angle = uniform(math.radians(ranges.rotation))
    shift_x, shift_y = uniform(ranges.translation), uniform(ranges.translation)
    scale_x, scale_y = uniform(ranges.scale).exp(), uniform(ranges.scale).exp()
    shear = uniform(math.radians(ranges.shear)).tan()
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * scale_x, (cos * shear - sin) * scale_y, shift_x], dim=1),
        torch.stack([sin * scale_x, (sin * shear + cos) * scale_y, shift_y], dim=1),
    ]
    displacements = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * ranges.elastic
    return WarpParams(torch.stack(rows, dim=1), displacements)


def warp(images: UInt8[Tensor, "batch 28 28"], params: WarpParams) -> UInt8[Tensor, "batch 28 28"]:
    """Resample each image once, with bicubic interpolation and black fill.

    Bilinear interpolation would blur the training images, and the test images are sharp.
    """
    pixel = torch.arange(SIDE, device=images.device) - CENTRE
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)])
    source = (params.maps @ grid.flatten(1)).unflatten(2, (SIDE, SIDE))
    interpolation = interpolation_matrix(params.displacements.shape[-1]).to(images.device)
    source = source + interpolation @ params.displacements @ interpolation.T
    sampled = F.grid_sample(
        images.unsqueeze(1).float(),
        source.permute(0, 2, 3, 1) / (SIDE / 2),  # grid_sample's coordinates go from -1 to 1
        mode="bicubic",
        align_corners=False,
    )
    return sampled.squeeze(1).round_().clamp_(0, 255).byte()  # bicubic sampling overshoots


@functools.cache
def interpolation_matrix(knots: int) -> Float32[Tensor, "28 knots"]:
    """The matrix of cubic interpolation from evenly spaced knots to all pixels of a row."""
    values = torch.eye(knots).view(knots, 1, knots, 1)
    pixels = F.interpolate(values, size=(SIDE, 1), mode="bicubic", align_corners=True)
    return pixels.view(knots, SIDE).T.contiguous()


def normalize(
    images: UInt8[Tensor, "batch 28 28"], info: DatasetInfo
) -> Float[Tensor, "batch 1 28 28"]:
    """The input of the network: pixels 0–255, scaled to 0–1, minus the mean, divided by the std."""
    return images.unsqueeze(1).float().mul_(1 / (255 * info.std)).sub_(info.mean / info.std)
