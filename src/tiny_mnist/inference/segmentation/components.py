"""From ink to connected components, and from these to rows."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int32
from numpy import ndarray

from tiny_mnist.inference.mnist_format import Box, stroke_width
from tiny_mnist.inference.paper import Mask

MAX_COMPONENTS = 200  # number of the largest components that are used; others are noise
NUM_NEIGHBOURS = 3  # number of nearest row items whose union is compared with a new item
MIN_MARGIN_ASPECT = 10.0  # length / width from which a strip or line at the border is no digit
LINE_WIDTH_QUANTILE = 0.97  # of the widths along a line; its ends may run along the border
MAX_LINE_LEAN = 0.1  # sideways, as a part of a line's length; strokes of digits may lean more
# Specks, in parts of the largest component.
MIN_COMPONENT_SIZE = 0.08  # longer side
MIN_COMPONENT_AREA = 0.01  # ink
MIN_DIGIT_AREA = 0.1  # ink, from which one that is not used may have been a digit
MAX_HEIGHT_RATIO = 1.8  # of two digits of a number
# Frames, such as the boxes of a form.
MAX_FRAME_INK = 0.4  # ink, as a part of the frame's box; a digit may have more
MIN_FRAMED_SIZE = 0.3  # longer side of what is framed, in shorter sides of the frame's box
MIN_FRAMED_AREA = 0.005  # ink of what is framed, as a part of the frame's
DIRECTIONS = 36  # in which a frame is looked for
MIN_SURROUNDED = 0.8  # part of them in which it is found
# Lines, such as what is left of the cells of a table.
MAX_LINE_WIDTH = 0.5  # in widths of the other strokes
WIDTH_BIAS = 2.0  # pixels: `stroke_width` measures from the middle of a pixel to that of another
MAX_LINE_ASPECT = 0.05  # width of the line, in longer sides of its box
MAX_LINE_SIZE = 3.0  # longer side, in the median of all components' by their ink
# Solid components, such as a pen beside the digits, a hole for filing, or a thick 1.
MIN_SOLIDITY = 0.7  # ink, as a part of the smallest rectangle around it; a disc has 0.79
MAX_WIDTH_RATIO = 1.25  # width / that of the others' strokes, up to which it may be a stroke
MAX_STROKE_SIZE = 1.5  # longer side, in that of the largest other, up to which it may be a stroke
MIN_STROKE_SIZE = 0.35  # longer side of these others, in that of the largest one
# Strokes of the digit by which a hypothesis is judged, in longer sides of the larger box.
MAX_SIDE_GAP = 0.05
MAX_UPRIGHT_GAP = 0.25
# Rows, in heights of their digits unless it says otherwise.
MIN_ITEM_HEIGHT = 0.35  # of the tallest component; lower items are no digits of their own
TALL_ITEM_HEIGHT = 0.6  # of the tallest component; lower items join the rows of higher ones
MIN_ROW_OVERLAP = 0.4  # height that an item shares with its row, in heights of the lower one
MIN_DIGIT_HEIGHT = 0.4  # of the tallest component, from which one may be a digit
HEIGHT_QUANTILE = 0.6  # of the heights of these, which counts as the height of the digits
MIN_STROKE_OVERLAP = 0.6  # columns that two strokes of a digit share, in widths of the narrower one
MAX_STROKE_GAP = 0.2  # vertical distance of two strokes of a digit
MAX_JOINED_HEIGHT = 1.35  # of both strokes together
MAX_LOWER_HEIGHT = 0.6  # of the lower stroke
MAX_STROKE_WIDTH = 1.4  # width of the lower stroke; wider ones are lines
SIDE_DISTANCE_WEIGHT = 0.2  # of a horizontal distance from a row; a vertical one has 1

Labels = Int32[ndarray, "height width"]
BoxMask = Bool[ndarray, "_ _"]
"""The pixels within a box that are ink."""


class Component(NamedTuple):
    """A connected piece of ink."""

    label: int
    box: Box
    area: int
    """Number of pixels of ink."""
    on_rim: bool
    """Whether it reaches the border of the picture or sheet."""


def find_components(mask: Mask, rim: Mask, touches_border: bool) -> tuple[Labels, list[Component]]:
    """Connected pieces of ink, the largest first, without frames and specks.

    Args:
        mask: all ink.
        rim: the outermost pixels; what touches them is left out unless `touches_border`.
        touches_border: whether a digit may touch the rim. If the largest component does not, only
            those do that are nearly as high: in a cropped row, the digits at its ends.
    """
    if not touches_border:
        mask = trim_lines(mask, rim)
    labels, parts = label_components(mask, rim)
    parts = [
        p for p in parts if (touches_border or not p.on_rim) and not is_frame(p, parts, labels)
    ]
    while parts and is_margin(labels, parts[0]):
        parts = parts[1:]
    if not parts:
        return labels, []
    best = parts[0]
    parts = [
        part
        for part in parts
        if part.box.size >= MIN_COMPONENT_SIZE * best.box.size
        and part.area > MIN_COMPONENT_AREA * best.area
        and (best.on_rim or not part.on_rim or are_nearly_as_high(part.box.height, best.box.height))
    ]
    return labels, remove_thin_lines(labels, remove_long_lines(labels, parts))


def are_nearly_as_high(one: int | float, other: int | float) -> bool:
    """Whether two heights are nearly the same, as those of the digits of a number are."""
    return 1 / MAX_HEIGHT_RATIO < one / other < MAX_HEIGHT_RATIO


def trim_lines(mask: Mask, rim: Mask) -> Mask:
    """The ink without lines from the rim to a digit, which are thinner than its strokes.

    They are lines of the paper that were not recognized. All other ink that is joined with the rim
    is left out with them, and so is thick ink nearer to the rim than a stroke is wide.
    """
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    on_rim = mask & np.isin(labels, np.unique(labels[rim & mask]))
    others = mask & ~on_rim
    if not (on_rim.any() and others.any()):
        return mask
    stroke = stroke_width(others)
    side = 2 * round(MAX_LINE_WIDTH * max(stroke - WIDTH_BIAS, 0) / 2) + 1
    thick = cv2.morphologyEx(on_rim.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side)))
    reach = 2 * round(stroke) + 1
    near = cv2.dilate(rim.astype(np.uint8), np.ones((reach, reach)))
    _, pieces = cv2.connectedComponents(thick)
    apart = (thick > 0) & ~np.isin(pieces, np.unique(pieces[near > 0]))
    return np.asarray(others | apart, bool) if apart.any() else mask


def remove_thin_lines(labels: Labels, parts: list[Component]) -> list[Component]:
    """The components without straight lines that are much thinner than the strokes of the others.

    A stroke of a digit may be as thin, but it is not as long.
    """
    ink = np.isin(labels, [part.label for part in parts])
    usual = stroke_width(ink) - WIDTH_BIAS
    widths = (part.area / math.hypot(part.box.width, part.box.height) for part in parts)
    return [
        part
        for part, width in zip(parts, widths, strict=True)
        if width >= MAX_LINE_WIDTH * usual or width >= MAX_LINE_ASPECT * part.box.size
    ]


def remove_long_lines(labels: Labels, parts: list[Component]) -> list[Component]:
    """The components without straight lines that are much longer than most ink."""
    if not parts:
        return []
    sizes = np.array([part.box.size for part in parts])
    order = np.argsort(sizes)
    ink = np.cumsum([parts[index].area for index in order])
    usual = sizes[order[np.searchsorted(ink, ink[-1] / 2)]]
    return [
        part
        for part, size in zip(parts, sizes, strict=True)
        if size <= MAX_LINE_SIZE * usual or not is_solid(labels, part)
    ]


def find_objects(labels: Labels, parts: list[Component]) -> list[Component]:
    """The solid components that are thicker or longer than strokes of the others: a pen, a thick 1.

    None if all are solid: there is nothing to compare them with.
    """
    solid = np.array([is_solid(labels, part) for part in parts], bool)
    if solid.all() or not solid.any():
        return []
    sizes = np.array([part.box.size for part in parts])
    widths = np.array([stroke_width(component_mask(labels, part)) for part in parts])
    largest = sizes[~solid].max()
    usual = float(np.median(widths[~solid & (sizes >= MIN_STROKE_SIZE * largest)]))
    large = (widths > MAX_WIDTH_RATIO * usual) | (sizes > MAX_STROKE_SIZE * largest)
    return [parts[index] for index in np.flatnonzero(solid & large)]


def is_solid(labels: Labels, part: Component) -> bool:
    """Whether a component fills most of the smallest rectangle around it, at any angle."""
    points = np.argwhere(component_mask(labels, part)).astype(np.float32)
    _, (height, width), _ = cv2.minAreaRect(points)
    return len(points) > MIN_SOLIDITY * (height + 1) * (width + 1)


def component_mask(labels: Labels, part: Component) -> BoxMask:
    """The ink of a component within its box."""
    box = part.box
    return np.asarray(labels[box.top : box.bottom, box.left : box.right] == part.label, bool)


def label_components(mask: Mask, rim: Mask) -> tuple[Labels, list[Component]]:
    """The largest connected pieces of ink, the largest first."""
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    touching = set(labels[rim].tolist())
    parts = [
        Component(label, Box(x, y, x + w, y + h), area, label in touching)
        for label, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1)
    ]
    return labels, sorted(parts, key=lambda p: -p.area)[:MAX_COMPONENTS]


def is_cut_off(labels: Labels, parts: list[Component]) -> bool:
    """Whether there are components of a digit's size beyond the `MAX_COMPONENTS` largest.

    Args:
        labels: of all ink.
        parts: the components that are used, the largest first.
    """
    areas = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    return bool((areas[MAX_COMPONENTS:] > MIN_DIGIT_AREA * parts[0].area).any())


def is_margin(labels: Labels, part: Component) -> bool:
    """Whether this is a narrow strip along a border or from border to border, and no stroke."""
    box, ink = part.box, component_mask(labels, part)
    height, width = labels.shape
    touches_side = box.left == 0 or box.right == width
    touches_end = box.top == 0 or box.bottom == height
    if 2 * box.width < width and box.height > box.width:
        is_long = box.height > MIN_MARGIN_ASPECT * box.width
        return (is_long and touches_side) or (box.height == height and is_line(ink))
    if 2 * box.height < height and box.width > box.height:
        is_long = box.width > MIN_MARGIN_ASPECT * box.height
        return (is_long and touches_end) or (box.width == width and is_line(ink.T))
    return False


def is_line(ink: BoxMask) -> bool:
    """Whether some ink is narrow in nearly all of its rows, and nearly upright."""
    columns = [np.flatnonzero(row) for row in ink]
    widths = [np.ptp(each) + 1 for each in columns]
    middles = [np.median(each) for each in columns]
    fifth = -(-len(ink) // 5)
    lean = abs(float(np.median(middles[-fifth:]) - np.median(middles[:fifth])))
    is_narrow = MIN_MARGIN_ASPECT * np.quantile(widths, LINE_WIDTH_QUANTILE) < len(ink)
    return bool(is_narrow and lean < MAX_LINE_LEAN * len(ink))


def is_frame(part: Component, parts: list[Component], labels: Labels) -> bool:
    """Whether this is a hollow frame around another component of some size.

    The frame may be open at one place, as a circle drawn by hand is. Joined digits are hollow, too,
    and their box may have others in it, which they do not surround.
    """
    box = part.box
    if part.area >= MAX_FRAME_INK * box.width * box.height:
        return False
    inside = [
        other
        for other in parts
        if other.box.size > MIN_FRAMED_SIZE * min(box.width, box.height)
        and other.area > MIN_FRAMED_AREA * part.area
        and box.left < other.box.left
        and other.box.right < box.right
        and box.top < other.box.top
        and other.box.bottom < box.bottom
    ]
    return any(surrounds(part, other, labels) for other in inside)


def surrounds(part: Component, other: Component, labels: Labels) -> bool:
    """Whether a component is seen in nearly all directions from the middle of another one."""
    box, middle = part.box, other.box
    y, x = np.nonzero(component_mask(labels, part))
    angle = np.arctan2(
        y + box.top - (middle.top + middle.bottom - 1) / 2,
        x + box.left - (middle.left + middle.right - 1) / 2,
    )
    seen = np.unique(np.floor(angle / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS)
    return len(seen) >= MIN_SURROUNDED * DIRECTIONS


def frame_mask(mask: Mask) -> Mask:
    """The ink of frames, such as the boxes of a form; squared paper is cut off and is none."""
    rim = np.ones_like(mask)
    rim[1:-1, 1:-1] = False
    labels, parts = label_components(mask, rim)
    frames = [part.label for part in parts if not part.on_rim and is_frame(part, parts, labels)]
    return np.isin(labels, frames)


def largest_groups(mask: Mask, rim: Mask, touches_border: bool) -> list[Mask]:
    """The largest component and the strokes near it, if there is ink; the same without objects.

    They are the digits by which a hypothesis is judged, before any network is asked.
    """
    labels, parts = find_components(mask, rim, touches_border)
    if not parts:
        return []
    groups = [join_near(labels, parts)]
    if is_solid(labels, parts[0]) and parts[0] in (objects := find_objects(labels, parts)):
        groups.append(join_near(labels, [part for part in parts if part not in objects]))
    return groups


def join_near(labels: Labels, parts: list[Component]) -> Mask:
    """The first component and the others near it, or near these."""
    group, rest = parts[:1], parts[1:]
    while near := [part for part in rest if is_near(part.box, union_box(group))]:
        group += near
        rest = [part for part in rest if part not in near]
    return np.isin(labels, [part.label for part in group])


def is_near(one: Box, other: Box) -> bool:
    """Whether two boxes overlap in their columns, or nearly, and are close in their rows."""
    size = max(one.size, other.size)
    across = max(one.left - other.right, other.left - one.right)
    along = max(one.top - other.bottom, other.top - one.bottom)
    return across < MAX_SIDE_GAP * size and along < MAX_UPRIGHT_GAP * size


def union_box(parts: list[Component]) -> Box:
    """The smallest box around all components."""
    box = parts[0].box
    for part in parts[1:]:
        box = box.union(part.box)
    return box


class Row(NamedTuple):
    """Components that stand beside each other."""

    parts: list[list[Component]]
    """The items from left to right; the components of one item are strokes of one digit."""
    height: float
    """Typical height of its digits, in pixels."""


def find_rows(parts: list[Component]) -> list[Row]:
    """Rows of digits from top to bottom."""
    tallest = max(part.box.height for part in parts)
    height = typical_height(parts)
    items = merge_strokes(parts, height)
    tall = [item for item in items if union_box(item).height >= MIN_ITEM_HEIGHT * tallest] or items
    rows: list[list[list[Component]]] = []
    boxes = [(union_box(item), item) for item in tall]
    lowest = TALL_ITEM_HEIGHT * tallest
    for box, item in sorted(boxes, key=lambda one: (one[0].height < lowest, one[0].left)):
        best = max(rows, key=lambda row: row_overlap(box, row), default=None)
        if best is None or row_overlap(box, best) < MIN_ROW_OVERLAP:
            rows.append([item])
        else:
            best.append(item)
    for item in items:
        if item not in tall:
            box = union_box(item)
            middle = (box.top + box.bottom) / 2
            min(rows, key=lambda row: row_distance(box, middle, row)).append(item)
    rows.sort(key=lambda row: float(np.mean([sum(union_box(item)[1::2]) for item in row])))
    return [
        Row(
            sorted(row, key=lambda item: sum(union_box(item)[::2])),
            typical_height([part for item in row for part in item]),
        )
        for row in rows
    ]


def typical_height(parts: list[Component]) -> float:
    """Height of the digits among these components, in pixels."""
    heights = np.array([part.box.height for part in parts])
    tall = heights[heights >= MIN_DIGIT_HEIGHT * heights.max()]
    return float(np.quantile(tall, HEIGHT_QUANTILE))


def merge_strokes(parts: list[Component], height: float) -> list[list[Component]]:
    """Put strokes that lie above each other into one item: they are of one digit."""
    items: list[list[Component]] = []
    for part in sorted(parts, key=lambda part: -part.area):
        for item in items:
            box = union_box(item)
            overlap = min(part.box.right, box.right) - max(part.box.left, box.left)
            along = max(part.box.top - box.bottom, box.top - part.box.bottom)
            joined = box.union(part.box)
            lower = min(part.box, box, key=lambda one: one.height)
            if (
                overlap > MIN_STROKE_OVERLAP * min(part.box.width, box.width)
                and along < MAX_STROKE_GAP * height
                and joined.height < MAX_JOINED_HEIGHT * height
                and lower.height < MAX_LOWER_HEIGHT * height
                and lower.width < MAX_STROKE_WIDTH * height
            ):
                item.append(part)
                break
        else:
            items.append([part])
    return items


def row_overlap(box: Box, row: list[list[Component]]) -> float:
    """How much of the lower of two heights an item shares with the nearest ones of a row."""
    nearest = sorted(row, key=lambda item: abs(union_box(item).right - box.left))[:NUM_NEIGHBOURS]
    near = union_box([part for item in nearest for part in item])
    shared = min(box.bottom, near.bottom) - max(box.top, near.top)
    return shared / max(1, min(box.height, near.height))


def row_distance(box: Box, middle: float, row: list[list[Component]]) -> float:
    """Distance of an item's middle from the nearest item of a row, in pixels."""
    centre = box.left + box.right
    near = union_box(min(row, key=lambda item: abs(sum(union_box(item)[::2]) - centre)))
    across = max(near.left - box.right, box.left - near.right, 0)
    return max(near.top - middle, middle - near.bottom, 0.0) + SIDE_DISTANCE_WEIGHT * across
