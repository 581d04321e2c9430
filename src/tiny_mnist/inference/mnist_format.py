"""A digit's shape as an image in the format of MNIST.

MNIST's digits were black-and-white scans, scaled with grey edges so that the longer side of the
digit is 20 pixels, and shifted so that the centre of mass is pixel (14, 14) of 28×28.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from tiny_mnist.inference.paper import MIN_CONTRAST, Contrast, Mask

SIDE = 28  # pixels of an image
DIGIT_SIDE = 20  # pixels of the digit's longer side
CENTRE = 14  # row and column of the centre of mass
OVERSAMPLING = 8  # the shape is drawn at this multiple of the image's resolution
STROKE_WIDTHS = (2.3, 3.4)  # pixels: limits of the mean width (5 % and 95 % in MNIST: 1.9, 4.1)

Resized = Bool[ndarray, "newheight newwidth"]


class Box(NamedTuple):
    """A rectangle of a picture, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def size(self) -> int:
        """The longer side."""
        return max(self.width, self.height)

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def bounding_box(mask: Mask) -> Box:
    """The smallest box around the ink; the mask must not be empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def draw_mask(mask: Mask) -> UInt8[ndarray, "28 28"]:
    """A shape in MNIST's format: size, grey edges, stroke width and position."""
    fine = fit(mask, DIGIT_SIDE * OVERSAMPLING)
    width = stroke_width(fine) / OVERSAMPLING
    wanted = float(np.clip(width, *STROKE_WIDTHS))
    # A wider stroke makes the digit larger, and fitting it again makes all of it smaller.
    growth = OVERSAMPLING * (wanted - width) / (2 * (1 - wanted / DIGIT_SIDE))
    if abs(growth) > 0.25:
        fine = fit(grow(fine, growth), DIGIT_SIDE * OVERSAMPLING)
    cover = fine.astype(np.float32)
    total = cover.sum()
    y = float((cover.sum(axis=1) @ np.arange(len(cover))) / total)
    x = float((cover.sum(axis=0) @ np.arange(cover.shape[1])) / total)
    middle = (CENTRE + 0.5) * OVERSAMPLING - 0.5
    motion = np.array([[1, 0, middle - x], [0, 1, middle - y]], np.float32)
    placed = cv2.warpAffine(cover, motion, (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    image = cv2.resize(placed, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray((image * 255).round().clip(0, 255), np.uint8)


def draw_greys(mask: Resized, contrast: Contrast) -> UInt8[ndarray, "28 28"]:
    """A small digit in MNIST's format, with its own greys.

    A digit that is already in this format keeps its pixels.

    Args:
        mask: the digit; may have another resolution than the contrast.
        contrast: the contrast of the picture in its own resolution.
    """
    near = cv2.resize(mask.astype(np.uint8), contrast.shape[::-1], interpolation=cv2.INTER_AREA)
    near = cv2.dilate(near, np.ones((3, 3), np.uint8))
    cover = np.where(near > 0, contrast, 0).clip(0)
    if cover.max() < MIN_CONTRAST:
        return draw_mask(mask)
    cover = cover / np.quantile(cover[cover > 0.3 * cover.max()], 0.9)
    box = bounding_box(cover > 0.08)
    part = cover[box.top : box.bottom, box.left : box.right].astype(np.float32)
    scale = DIGIT_SIDE / box.size
    if scale != 1:
        size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
        interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        part = np.asarray(cv2.resize(part, size, interpolation=interpolation), np.float32)
    if scale > 1.2:  # undo the blur of enlarging
        part = (part - 0.5) * 1.5 + 0.5
    levels = (part * 255).round().clip(0, 255).astype(np.uint8)
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (levels.sum(axis, dtype=float) for axis in (1, 0))
    centres = (float(side @ np.arange(len(side)) / side.sum()) for side in (rows, columns))
    top, left = (
        int(np.clip(round(CENTRE - centre), 0, SIDE - length))
        for centre, length in zip(centres, levels.shape, strict=True)
    )
    image[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
    return image


def fit(mask: Mask, longer: int) -> Resized:
    """The ink alone with a longer side of this many pixels and smooth edges."""
    box = bounding_box(mask)
    part = mask[box.top : box.bottom, box.left : box.right].astype(np.float32)
    scale = longer / box.size
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    large = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scale > 1:
        large = cv2.GaussianBlur(large, (0, 0), scale / 2, borderType=cv2.BORDER_CONSTANT)
    smooth = np.asarray(large >= 0.5, bool)
    return smooth if smooth.any() else np.ones(smooth.shape, bool)


def stroke_width(mask: Mask) -> float:
    """Mean width of the strokes in pixels: in a bar, four times the mean distance to its edge."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return 4 * float(distance[distance > 0].mean())


def grow(mask: Mask, pixels: float) -> Resized:
    """The shape with its edges moved outwards, or inwards if negative."""
    margin = max(0, int(np.ceil(pixels))) + 1
    padded = np.pad(mask, margin)
    if pixels > 0:
        distance = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray(distance <= pixels, bool)
    distance = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, 5)
    thinner = np.asarray(distance > -pixels, bool)
    return thinner if thinner.any() else padded
