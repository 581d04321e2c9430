"""Where touching digits may be cut apart: paths of minimum cost through the ink."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from tiny_mnist.inference.mnist_format import stroke_width

SEARCH_HEIGHT = 64  # pixels: height of the shrunk component in which cuts are searched
MAX_CUTS_PER_ASPECT = 6.0  # cuts of a component per unit of aspect ratio (width / height)
MAX_CUTS = 90  # cuts of a component, however wide: it has at most some 20 digits
SEED_ROWS = (0.25, 0.5, 0.75)  # rows where paths are searched, in heights of the component
MIN_SEED_DISTANCE = 0.06  # distance between two paths in such a row, in component heights
MIN_CUT_DISTANCE = 0.05  # mean distance between two cuts, in component heights
MAX_CROSSING = 4.5  # ink that a cut goes through, in stroke widths
SIDE_STEP_COST = 0.08  # cost of a step to the side, in pixels of ink


class Cut(NamedTuple):
    """A path from the top of a component to its bottom between two touching digits."""

    columns: Float[ndarray, " height"]
    """The first column to the right of the cut, in each row of the component."""
    crossing: float
    """Ink that is cut through, in stroke widths."""


def find_cuts(mask: Bool[ndarray, "height width"]) -> list[Cut]:
    """Where two digits of a component may touch, from left to right; cuts may cross each other.

    Each cut is a path of minimum cost from top to bottom, where a pixel of ink costs 1 and each row
    is at most one column beside the row above. Of all paths, those through the local minima of some
    rows are taken, the cheapest first, unless a similar one was taken already.
    """
    scale = min(1.0, SEARCH_HEIGHT / mask.shape[0])
    size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
    ink = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows, columns = ink.shape
    stroke = max(1.0, scale * stroke_width(mask))
    down, from_above = minimum_cost_paths(ink)
    up, from_below = minimum_cost_paths(ink[::-1])
    apart = max(1, round(MIN_SEED_DISTANCE * rows))
    seeds: list[tuple[float, int, int]] = []
    for row in sorted({int(part * rows) for part in SEED_ROWS}):
        total = down[row] + up[rows - 1 - row] - ink[row]
        lowest = -cv2.dilate(-total[None], np.ones((1, 2 * apart + 1)))[0]
        low = find_run_centres((total <= lowest) & (total <= MAX_CROSSING * stroke))
        seeds += [(float(total[x]), row, x) for x in low if 2 <= x <= columns - 3]
    found: list[tuple[ndarray, float]] = []
    for cost, row, column in sorted(seeds):
        if len(found) >= min(MAX_CUTS_PER_ASPECT * columns / rows, MAX_CUTS):
            break
        path = np.full(rows, float(column))
        x = column
        for above in range(row, 0, -1):
            path[above - 1] = x = int(from_above[above, x])
        x = column
        for below in range(row, rows - 1):
            path[below + 1] = x = int(from_below[rows - 1 - below, x])
        if all(np.abs(path - other).mean() > MIN_CUT_DISTANCE * rows for other, _ in found):
            found.append((path, cost / stroke))
    places = np.linspace(0, rows - 1, mask.shape[0])
    cuts = [Cut(np.interp(places, np.arange(rows), path) / scale, cost) for path, cost in found]
    return sorted(cuts, key=lambda cut: float(cut.columns.mean()))


def find_run_centres(marked: Bool[ndarray, " n"]) -> list[int]:
    """The middle of each run of marked places."""
    edges = np.flatnonzero(np.diff(np.pad(marked, 1).astype(np.int8)))
    return [int(start + end - 1) // 2 for start, end in edges.reshape(-1, 2)]


def minimum_cost_paths(
    ink: Float[ndarray, "rows columns"],
) -> tuple[Float[ndarray, "rows columns"], Int[ndarray, "rows columns"]]:
    """Minimum cost from the first row to each pixel, and the path's column in the row before."""
    rows, columns = ink.shape
    cost, origin = ink.astype(np.float64).copy(), np.zeros(ink.shape, int)
    index = np.arange(columns)
    for row in range(1, rows):
        before = np.pad(cost[row - 1], 1, constant_values=1e9)
        steps = np.stack([before[1:-1], before[:-2] + SIDE_STEP_COST, before[2:] + SIDE_STEP_COST])
        choice = steps.argmin(0)
        origin[row] = index + np.array([0, -1, 1])[choice]
        cost[row] += steps[choice, index]
    return cost, origin
