"""Over-segmentation of a row: where it may be divided, and the parts that may be digits."""

from typing import NamedTuple

import numpy as np

from tiny_mnist.inference.mnist_format import Box, bounding_box
from tiny_mnist.inference.segmentation.components import BoxMask, Labels, Row, union_box
from tiny_mnist.inference.segmentation.cuts import find_cuts

MAX_DIGIT_WIDTH = 1.45  # width of a digit, in row heights
MAX_GAP = 0.25  # horizontal distance between components of one digit, in row heights
MIN_SHARED_ROWS = 0.5  # of the lower of two parts of an item that are neighbouring digits
MIN_INK = 12  # pixels of ink of a digit


def item_masks(labels: Labels, row: Row) -> list[BoxMask]:
    """The ink of each item of a row."""
    masks = []
    for item in row.parts:
        box = union_box(item)
        inside = labels[box.top : box.bottom, box.left : box.right]
        masks.append(np.isin(inside, [part.label for part in item]))
    return masks


class Boundary(NamedTuple):
    """Where a row may be divided."""

    item: int
    """The item that is cut; without a cut, the first item to the right."""
    right: BoxMask | None
    """The pixels of the item to the right of the cut; None between two items."""
    crossing: float
    """Ink that is cut through, in stroke widths."""


class Candidate(NamedTuple):
    """The ink between two boundaries."""

    first: int
    last: int
    """Numbers of the boundaries."""
    mask: BoxMask
    box: Box
    """Rectangle of the mask in the picture."""


def find_boundaries(masks: list[BoxMask], splittable: list[bool]) -> list[Boundary]:
    """Every place from left to right where a row may be divided, with both of its ends.

    Args:
        masks: the ink of each item.
        splittable: for each item, whether it may be split.
    """
    boundaries = []
    for number, (mask, may_split) in enumerate(zip(masks, splittable, strict=True)):
        boundaries.append(Boundary(number, None, 0.0))
        columns = np.arange(mask.shape[1])
        for cut in find_cuts(mask) if may_split else ():
            right = columns[None] >= cut.columns[:, None]
            if are_side_by_side(mask & ~right, mask & right):
                boundaries.append(Boundary(number, right, cut.crossing))
    return [*boundaries, Boundary(len(masks), None, 0.0)]


def are_side_by_side(left: BoxMask, right: BoxMask) -> bool:
    """Whether two parts of an item share enough rows for two digits; halves of a slash do not."""
    if not (left.any() and right.any()):
        return False
    one, other = bounding_box(left), bounding_box(right)
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared >= MIN_SHARED_ROWS * min(one.height, other.height)


def find_candidates(boundaries: list[Boundary], masks: list[BoxMask], row: Row) -> list[Candidate]:
    """Whatever lies between two boundaries that are no further apart than a digit is wide.

    There is always one from each boundary to the next, unless it is without ink.
    """
    boxes = [union_box(item) for item in row.parts]
    candidates = []
    for first, start in enumerate(boundaries[:-1]):
        for last in range(first + 1, len(boundaries)):
            end = boundaries[last]
            final = end.item if end.right is None else end.item + 1
            items = range(start.item, final)
            if len(items) > 1 and are_far_apart([boxes[item] for item in items], row.height):
                break
            found = extract_ink(boxes, masks, items, start.right, end.right)
            if found is None:
                continue
            mask, box = found
            if last > first + 1 and box.width > MAX_DIGIT_WIDTH * row.height:
                break
            candidates.append(Candidate(first, last, mask, box))
    return candidates


def are_far_apart(boxes: list[Box], height: float) -> bool:
    """Whether the last of these boxes is too far to the right for a stroke of the same digit."""
    right = max(box.right for box in boxes[:-1])
    return boxes[-1].left - right > MAX_GAP * height


def extract_ink(
    boxes: list[Box],
    masks: list[BoxMask],
    items: range,
    right: BoxMask | None,
    beyond: BoxMask | None,
) -> tuple[BoxMask, Box] | None:
    """The ink of some items and the box around it; None if there is too little.

    Args:
        boxes: the boxes of all items.
        masks: the ink of all items.
        items: the numbers of the items that are taken.
        right: the part of the first one that is kept; None for all.
        beyond: the part of the last one that is left out; None for nothing.
    """
    around = boxes[items[0]]
    for item in items[1:]:
        around = around.union(boxes[item])
    whole = np.zeros((around.height, around.width), bool)
    for item in items:
        mask, box = masks[item], boxes[item]
        if item == items[0] and right is not None:
            mask = mask & right
        if item == items[-1] and beyond is not None:
            mask = mask & ~beyond
        top, left = box.top - around.top, box.left - around.left
        whole[top : top + box.height, left : left + box.width] |= mask
    if np.count_nonzero(whole) < MIN_INK:
        return None
    inner = bounding_box(whole)
    box = Box(
        around.left + inner.left,
        around.top + inner.top,
        around.left + inner.right,
        around.top + inner.bottom,
    )
    return whole[inner.top : inner.bottom, inner.left : inner.right], box
