"""Where touching digits may be cut apart."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from tiny_mnist.inference.mnist_format import stroke_width

ROWS = 64  # cuts are searched in a component shrunk to this height
MAX_CUTS = 6.0  # of one component, for each height of it in its width
MAX_TOTAL = 90  # cuts of one component, however wide: it has at most some 20 digits
SEED_ROWS = (0.25, 0.5, 0.75)  # parts of the height at which cheapest ways are searched
SEED_DISTANCE = 0.06  # between the cheapest ways of one row, in heights
CUT_DISTANCE = 0.05  # mean distance between two cuts, in heights
MAX_CROSSING = 4.5  # widths of the stroke that a cut may go through
SIDE_STEP = 0.08  # cost of a step to the side, in pixels of ink


class Cut(NamedTuple):
    """A way from the top of a component to its bottom between two touching digits."""

    columns: Float[ndarray, " height"]
    """The first column to the right of the cut, in each row of the component."""
    crossing: float
    """Ink that is cut through, in widths of the stroke."""


def find_cuts(mask: Bool[ndarray, "height width"]) -> list[Cut]:
    """Where two digits of a component may touch, from left to right; cuts may cross each other.

    Each cut is a cheapest way from top to bottom, where a pixel of ink costs 1 and each row is at
    most one column beside the row above. Of all ways, those through the local minima of some rows
    are taken, the cheapest first, unless a similar one was taken already.
    """
    scale = min(1.0, ROWS / mask.shape[0])
    size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
    ink = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows, columns = ink.shape
    stroke = max(1.0, scale * stroke_width(mask))
    down, from_above = cheapest_ways(ink)
    up, from_below = cheapest_ways(ink[::-1])
    apart = max(1, round(SEED_DISTANCE * rows))
    seeds: list[tuple[float, int, int]] = []
    for row in sorted({int(part * rows) for part in SEED_ROWS}):
        total = down[row] + up[rows - 1 - row] - ink[row]
        lowest = -cv2.dilate(-total[None], np.ones((1, 2 * apart + 1)))[0]
        low = middles((total <= lowest) & (total <= MAX_CROSSING * stroke))
        seeds += [(float(total[x]), row, x) for x in low if 2 <= x <= columns - 3]
    found: list[tuple[ndarray, float]] = []
    for cost, row, column in sorted(seeds):
        if len(found) >= min(MAX_CUTS * columns / rows, MAX_TOTAL):
            break
        way = np.full(rows, float(column))
        x = column
        for above in range(row, 0, -1):
            way[above - 1] = x = int(from_above[above, x])
        x = column
        for below in range(row, rows - 1):
            way[below + 1] = x = int(from_below[rows - 1 - below, x])
        if all(np.abs(way - other).mean() > CUT_DISTANCE * rows for other, _ in found):
            found.append((way, cost / stroke))
    places = np.linspace(0, rows - 1, mask.shape[0])
    cuts = [Cut(np.interp(places, np.arange(rows), way) / scale, cost) for way, cost in found]
    return sorted(cuts, key=lambda cut: float(cut.columns.mean()))


def middles(marked: Bool[ndarray, " n"]) -> list[int]:
    """The middle of each run of marked places."""
    edges = np.flatnonzero(np.diff(np.pad(marked, 1).astype(np.int8)))
    return [int(start + end - 1) // 2 for start, end in edges.reshape(-1, 2)]


def cheapest_ways(
    ink: Float[ndarray, "rows columns"],
) -> tuple[Float[ndarray, "rows columns"], Int[ndarray, "rows columns"]]:
    """Cost of the cheapest way from the first row to each pixel, and the column it came from."""
    rows, columns = ink.shape
    cost, origin = ink.astype(np.float64).copy(), np.zeros(ink.shape, int)
    index = np.arange(columns)
    for row in range(1, rows):
        before = np.pad(cost[row - 1], 1, constant_values=1e9)
        steps = np.stack([before[1:-1], before[:-2] + SIDE_STEP, before[2:] + SIDE_STEP])
        choice = steps.argmin(0)
        origin[row] = index + np.array([0, -1, 1])[choice]
        cost[row] += steps[choice, index]
    return cost, origin
