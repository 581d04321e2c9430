"""The batched augmentation equals torchvision's transforms of single images."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, Normalize, ToTensor
from torchvision.transforms import functional as F

from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.transforms import (
    Augmentation,
    RotateShiftParams,
    WarpParams,
    make_generator,
    normalize,
    rotate_and_shift,
    sample_rotate_shift,
    sample_warp,
    warp,
)

IMAGES = 200


@pytest.fixture(scope="module")
def images(mnist: LabelledImages) -> Tensor:
    """Real images from all over the training set."""
    return mnist.train_images[:: 60_000 // IMAGES]


def one_by_one(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """The same rotations and shifts as two transforms of torchvision for each image."""
    nearest = {"interpolation": InterpolationMode.NEAREST, "fill": [0.0]}
    still = {"angle": 0.0, "scale": 1.0, "shear": [0.0]}
    rotated = [
        F.rotate(image[None], angle, **nearest)
        for image, angle in zip(images, degrees.tolist(), strict=True)
    ]
    shifted = [
        F.affine(image, translate=shift, **still, **nearest)
        for image, shift in zip(rotated, shifts.tolist(), strict=True)
    ]
    return torch.cat(shifted)


def all_shifts(largest: int) -> Tensor:
    steps = torch.arange(-largest, largest + 1)
    return torch.cartesian_prod(steps, steps)


def test_rotate_and_shift_equals_two_transforms_of_torchvision(images: Tensor) -> None:
    params = sample_rotate_shift(IMAGES, 15, 2, make_generator(0, 0))
    expected = one_by_one(images, params.angles.rad2deg(), params.shifts)
    different = (rotate_and_shift(images, params) != expected).float().mean().item()
    assert different <= 0.001  # a coordinate half-way between two pixels may be rounded either way


def test_rotate_and_shift_equals_torchvision_on_noise_up_to_the_border() -> None:
    # The border of real images is black; noise also tests the pixels at the border.
    noise = torch.randint(256, (IMAGES, 28, 28), generator=make_generator(0, 0)).byte()
    params = sample_rotate_shift(IMAGES, 180, 27, make_generator(0, 1))
    expected = one_by_one(noise, params.angles.rad2deg(), params.shifts)
    assert (rotate_and_shift(noise, params) != expected).float().mean().item() <= 0.001


def test_shift_without_rotation_is_exact(images: Tensor) -> None:
    shifts = all_shifts(2)
    some, still = images[: len(shifts)], torch.zeros(len(shifts))
    assert rotate_and_shift(some, RotateShiftParams(still, shifts)).equal(
        one_by_one(some, still, shifts)
    )


def test_zero_rotation_and_shift_is_the_identity(images: Tensor) -> None:
    still = RotateShiftParams(torch.zeros(IMAGES), torch.zeros(IMAGES, 2, dtype=torch.long))
    assert rotate_and_shift(images, still).equal(images)


@pytest.mark.parametrize("degrees", [-5, 5])
def test_pixel_rotated_out_of_the_image_stays_black_after_the_shift(degrees: float) -> None:
    shifts = all_shifts(2)
    images = torch.zeros(len(shifts), 28, 28, dtype=torch.uint8)
    images[:, [0, 0, -1, -1], [0, -1, 0, -1]] = 255  # the corners leave the frame by half a pixel
    moved = rotate_and_shift(
        images, RotateShiftParams(torch.full((len(shifts),), math.radians(degrees)), shifts)
    )
    assert not moved.any()


def test_angles_are_uniform() -> None:
    angles = sample_rotate_shift(100_000, 15, 2, make_generator(0, 0)).angles.rad2deg()
    uniform = torch.linspace(-15, 15, len(angles))
    assert (angles.sort().values - uniform).abs().max() < 0.2  # degrees
    assert angles.abs().max() <= 15


def test_largest_shifts_are_half_as_frequent_and_axes_independent() -> None:
    shifts = sample_rotate_shift(100_000, 15, 2, make_generator(0, 0)).shifts
    assert shifts.abs().max() == 2
    right, down = (shifts + 2).T
    frequency = torch.bincount(5 * right + down, minlength=25).reshape(5, 5) / len(shifts)
    axis = torch.tensor([0.125, 0.25, 0.25, 0.25, 0.125])
    assert torch.allclose(frequency, axis.outer(axis), rtol=0, atol=0.003)


def test_parameters_depend_on_seed_and_epoch_alone() -> None:
    first = sample_rotate_shift(100, 15, 2, make_generator(3, 7))
    torch.manual_seed(1)
    torch.rand(5)
    second = sample_rotate_shift(100, 15, 2, make_generator(3, 7))
    assert first.angles.equal(second.angles)
    assert first.shifts.equal(second.shifts)


def test_parameters_of_neighbouring_seeds_and_epochs_are_uncorrelated() -> None:
    near = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]
    params = [sample_rotate_shift(10_000, 15, 2, make_generator(*pair)) for pair in near]
    columns = torch.stack(
        [column for angles, shifts, _ in params for column in (angles, *shifts.float().T)]
    )
    unrelated = torch.eye(len(columns))
    assert torch.allclose(columns.corrcoef(), unrelated, rtol=0, atol=0.05)


def test_normalize_equals_torchvision(images: Tensor) -> None:
    transform = Normalize((0.1307,), (0.3081,))
    expected = torch.stack([transform(ToTensor()(image.numpy())) for image in images])
    assert torch.allclose(normalize(images, MNIST.info), expected, rtol=0, atol=1e-6)


def params(count: int, linear: Tensor | None = None, offset: Tensor | None = None) -> WarpParams:
    """WarpParams without elastic displacement, the identity unless said otherwise."""
    maps = torch.zeros(count, 2, 3)
    maps[:, :, :2] = torch.eye(2) if linear is None else linear
    maps[:, :, 2] = torch.zeros(2) if offset is None else offset
    return WarpParams(maps, torch.zeros(count, 2, 7, 7))


def test_identity_warp_returns_the_images(images: Tensor) -> None:
    assert warp(images, params(IMAGES)).equal(images)


def test_warp_by_whole_pixels_equals_a_shift(images: Tensor) -> None:
    shifts = all_shifts(2)
    some, still = images[: len(shifts)], torch.zeros(len(shifts))
    # A warp maps output to input coordinates, a shift input to output coordinates.
    warped = warp(some, params(len(shifts), offset=-shifts.float()))
    assert warped.equal(rotate_and_shift(some, RotateShiftParams(still, shifts)))


def test_a_quarter_turn_is_exact(images: Tensor) -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    assert warp(images, params(IMAGES, turn)).equal(images.rot90(dims=(1, 2)))


def test_equal_displacements_equal_a_shift(images: Tensor) -> None:
    still = params(IMAGES)
    everywhere = still.displacements + torch.tensor([-1.0, 2.0]).view(2, 1, 1)
    difference = warp(images, WarpParams(still.maps, everywhere)).int() - warp(
        images, params(IMAGES, offset=torch.tensor([-1.0, 2.0]))
    )
    assert difference.abs().max() <= 1  # grey levels: rounding


def test_warp_parameters_stay_in_their_ranges() -> None:
    ranges = Augmentation(10, 1, 0.1, 8, 0.4, "bicubic")
    maps, displacements = sample_warp(100_000, ranges, make_generator(0, 0))
    assert maps[:, :, 2].abs().max() <= 1
    areas = torch.linalg.det(maps[:, :, :2]).log()
    assert areas.abs().max() <= 0.2 + 1e-6
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0]).rad2deg()
    assert angles.abs().max() <= 10.001
    assert displacements.std().item() == pytest.approx(0.4, rel=0.01)


def test_warp_with_all_ranges_zero_is_the_identity(images: Tensor) -> None:
    none = Augmentation(0, 0, 0, 0, 0, "bicubic")
    assert none.sample(IMAGES, make_generator(0, 0)) is None
    assert warp(images, sample_warp(IMAGES, none, make_generator(0, 0))).equal(images)


@pytest.mark.parametrize("sampling", ["nearest", "bicubic"])
def test_a_flip_mirrors_the_image_before_all_else(images: Tensor, sampling: Any) -> None:
    plain = Augmentation(15, 2, sampling=sampling).sample(IMAGES, make_generator(0, 0))
    flipped = Augmentation(15, 2, sampling=sampling, flip=0.5).sample(IMAGES, make_generator(0, 0))
    assert plain is not None
    assert flipped is not None
    mirrored = (flipped.apply(images) != plain.apply(images)).flatten(1).any(dim=1)
    assert 0.35 < mirrored.float().mean() < 0.65, "the other parameters are drawn as without it"
    expected = torch.where(mirrored[:, None, None], images.flip(-1), images)
    assert (flipped.apply(images) != plain.apply(expected)).float().mean() < 0.001


def test_flip_with_probability_1_mirrors_every_image(images: Tensor) -> None:
    params = Augmentation(0, 0, flip=1).sample(IMAGES, make_generator(0, 0))
    assert params is not None
    assert params.apply(images).equal(images.flip(-1))
    assert Augmentation(0, 0).sample(IMAGES, make_generator(0, 0)) is None
