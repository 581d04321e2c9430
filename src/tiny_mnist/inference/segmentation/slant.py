"""Rows of slanted digits, and the same with upright strokes."""

import numpy as np
from jaxtyping import Bool, Int, Int32
from numpy import ndarray

from tiny_mnist.inference.mnist_format import Box, bounding_box
from tiny_mnist.inference.segmentation.components import (
    Component,
    Labels,
    Row,
    component_mask,
    merge_strokes,
    union_box,
)

USUAL_SLANT = 0.1  # slant of the digits that the networks were trained on, in columns per row


def deslant(
    labels: Labels, row: Row
) -> tuple[Int32[ndarray, "height newwidth"], Row, Int[ndarray, " height"]]:
    """The ink of a row of several digits with upright strokes.

    The slant is the median over components that are of a digit's size.

    Returns:
        The labels, moved; the row with its new boxes; how many columns each image row was moved
        to the right.
    """
    parts = [part for item in row.parts for part in item]
    box = union_box(parts)
    shift = np.zeros(labels.shape[0], int)
    inside = labels[box.top : box.bottom, box.left : box.right]
    mask = np.isin(inside, [part.label for part in parts])
    slants = [measure_slant(labels, part) for part in parts if is_digit_size(part.box, row.height)]
    slant = float(np.median(slants)) if len(slants) > 1 else USUAL_SLANT
    if abs(slant - USUAL_SLANT) < 0.1:
        return np.where(np.isin(labels, [part.label for part in parts]), labels, 0), row, shift
    middle = (box.top + box.bottom) / 2
    shift = np.round((slant - USUAL_SLANT) * (np.arange(labels.shape[0]) - middle)).astype(int)
    margin = int(np.abs(shift[box.top : box.bottom]).max()) + 1
    moved = np.zeros((labels.shape[0], labels.shape[1] + 2 * margin), labels.dtype)
    for y in range(box.top, box.bottom):
        left = box.left + margin + shift[y]
        moved[y, left : left + box.width] = np.where(mask[y - box.top], inside[y - box.top], 0)
    upright = [part._replace(box=bounding_box(moved == part.label)) for part in parts]
    items = merge_strokes(upright, row.height)
    items.sort(key=lambda item: sum(union_box(item)[::2]))
    return moved, Row(items, row.height), shift + margin


def is_digit_size(box: Box, height: float) -> bool:
    """Whether a component of this size is likely to be one digit."""
    return 0.6 * height < box.height < 1.4 * height and box.width < 1.1 * height


def measure_slant(labels: Labels, part: Component) -> float:
    """Slant of one digit by its moments: columns to the right for one row up."""
    y, x = np.nonzero(component_mask(labels, part))
    covariance = float(np.cov(x, y, bias=True)[0, 1])
    return -covariance / max(float(y.var()), 1e-6)


def slanted_box(mask: Bool[ndarray, "_ _"], box: Box, shift: Int[ndarray, " height"]) -> Box:
    """The box around ink in the picture before it was deslanted.

    Args:
        mask: the ink.
        box: the rectangle of the mask in the deslanted picture.
        shift: how many columns each image row was moved to the right.
    """
    if not shift.any():
        return box
    y, x = np.nonzero(mask)
    columns = x + box.left - shift[y + box.top]
    return Box(int(columns.min()), box.top, int(columns.max()) + 1, box.bottom)
