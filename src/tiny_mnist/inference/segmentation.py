"""From ink to groups of strokes, one a digit."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from tiny_mnist.inference.mnist_format import Box
from tiny_mnist.inference.paper import Mask

MAX_COMPONENTS = 60  # the largest ones are looked at; more are noise


class Component(NamedTuple):
    """A connected piece of ink."""

    label: int
    box: Box
    area: int
    """Pixels."""
    on_rim: bool
    """Whether it reaches the border of the picture or sheet."""


def group_strokes(mask: Mask, rim: Mask, cut: bool) -> list[Mask]:
    """The ink of each digit; strokes near each other are one digit, specks are left out.

    Args:
        mask: all ink.
        rim: the outermost pixels; what touches them is left out unless `cut`.
        cut: whether a digit may touch the rim.

    Returns:
        The group with the largest component comes first.
    """
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    touching = set(labels[rim].tolist())
    parts = [
        Component(label, Box(x, y, x + w, y + h), area, label in touching)
        for label, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1)
    ]
    parts = sorted(parts, key=lambda p: -p.area)[:MAX_COMPONENTS]
    parts = [p for p in parts if (cut or not p.on_rim) and not is_frame(p, parts)]
    if not parts:
        return []
    best = parts[0]
    parts = [p for p in parts if p.box.size >= 0.08 * best.box.size and p.area > 0.01 * best.area]
    groups: list[list[Component]] = []
    for part in parts:
        near = [group for group in groups if belongs(part, group)]
        groups = [group for group in groups if group not in near]
        groups.append(sum(near, [part]))
    groups.sort(key=lambda group: best not in group)
    biggest = union_box(groups[0]).size
    return [
        select(labels, group)
        for group in groups
        if best in group
        or (
            union_box(group).height >= 0.5 * biggest
            and (best.on_rim or not any(p.on_rim for p in group))
        )
    ]


def is_frame(part: Component, parts: list[Component]) -> bool:
    """Whether this is a hollow frame around another component of some size."""
    return part.area < 0.4 * part.box.width * part.box.height and any(
        other.box.size > 0.25 * part.box.size
        and other.area > 0.02 * part.area
        and part.box.left < other.box.left
        and other.box.right < part.box.right
        and part.box.top < other.box.top
        and other.box.bottom < part.box.bottom
        for other in parts
    )


def belongs(part: Component, group: list[Component]) -> bool:
    """Whether a piece of ink is a stroke of the same digit as these."""
    box = union_box(group)
    across = max(part.box.left - box.right, box.left - part.box.right)
    along = max(part.box.top - box.bottom, box.top - part.box.bottom)
    return across < 0.05 * box.size and along < 0.25 * box.size


def union_box(group: list[Component]) -> Box:
    """The smallest box around all components."""
    box = group[0].box
    for part in group[1:]:
        box = box.union(part.box)
    return box


def select(labels: Int32[ndarray, "height width"], group: list[Component]) -> Mask:
    """The pixels of these components."""
    chosen = np.zeros(int(labels.max()) + 1, bool)
    chosen[[part.label for part in group]] = True
    return np.asarray(chosen[labels], bool)
