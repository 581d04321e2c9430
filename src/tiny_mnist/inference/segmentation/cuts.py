"""Where touching digits may be cut apart: paths of minimum cost through the ink."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from tiny_mnist.inference.mnist_format import stroke_width

SEARCH_HEIGHT = 64  # pixels: height of the shrunk component in which cuts are searched
MAX_CUTS = 90  # cuts of a component, however wide: it has at most some 20 digits
SEED_ROWS = 8  # rows, evenly spaced, through each of whose pixels a path is searched
MAX_CROSSING = 4.5  # ink that a cut goes through, in stroke widths
# These two were chosen on rendered rows of touching digits: of steps from 0.03 to 1 and distances
# from 0.1 to 0.4, they give most digits a candidate (77 % of them; 54 % with the cheapest path near
# each column and steps of 0.08) with no more than some 300 candidates a row.
SIDE_STEP_COST = 0.6  # cost of a step to the side, in pixels of ink
MIN_CUT_DISTANCE = 0.2  # ink between two cuts, in strokes as high as the component


class Cut(NamedTuple):
    """A path from the top of a component to its bottom between two touching digits."""

    columns: Float[ndarray, " height"]
    """The first column to the right of the cut, in each row of the component."""
    crossing: float
    """Ink that is cut through, in stroke widths."""


def find_cuts(mask: Bool[ndarray, "height width"]) -> list[Cut]:
    """Where two digits of a component may touch, from left to right; cuts may cross each other.

    Each cut is a path of minimum cost from top to bottom, where a pixel of ink costs 1 and each row
    is at most one column beside the row above. Of all paths, the cheapest are taken first, unless
    there is little ink between a path and one that was taken already.
    """
    scale = min(1.0, SEARCH_HEIGHT / mask.shape[0])
    size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
    ink = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows = ink.shape[0]
    stroke = max(1.0, scale * stroke_width(mask))
    paths, costs = find_paths(ink, MAX_CROSSING * stroke)
    order = np.argsort(costs, kind="stable")
    paths, costs = paths[order], costs[order]
    before = np.pad(ink.cumsum(axis=1), ((0, 0), (1, 0)))[np.arange(rows), paths]
    distance = MIN_CUT_DISTANCE * stroke * rows
    total = before.sum(axis=1)
    remaining = np.flatnonzero((total > distance) & (ink.sum() - total > distance))
    places = np.linspace(0, rows - 1, mask.shape[0])
    cuts: list[Cut] = []
    while len(remaining) and len(cuts) < MAX_CUTS:
        best = remaining[0]
        columns = np.interp(places, np.arange(rows), paths[best]) / scale
        cuts.append(Cut(columns, float(costs[best]) / stroke))
        between = np.abs(before[remaining] - before[best]).sum(axis=1)
        remaining = remaining[between > distance]
    return sorted(cuts, key=lambda cut: float(cut.columns.mean()))


def find_paths(
    ink: Float[ndarray, "rows columns"], max_cost: float
) -> tuple[Int[ndarray, "n rows"], Float[ndarray, " n"]]:
    """The cheapest path through each pixel of some rows, and its cost.

    Args:
        ink: cost of each pixel.
        max_cost: paths that cost more are left out.
    """
    rows = len(ink)
    down, from_above = minimum_cost_paths(ink)
    up, from_below = (way[::-1] for way in minimum_cost_paths(ink[::-1]))
    through = down + up - ink
    seeds = np.unique((np.arange(SEED_ROWS) + 0.5) / SEED_ROWS * rows).astype(int)
    paths, costs = [], []
    for seed in seeds:
        columns = np.flatnonzero(through[seed] <= max_cost)
        path = np.empty((len(columns), rows), int)
        path[:, seed] = columns
        for row in range(seed, 0, -1):
            path[:, row - 1] = from_above[row, path[:, row]]
        for row in range(seed, rows - 1):
            path[:, row + 1] = from_below[row, path[:, row]]
        paths.append(path)
        costs.append(through[seed, columns])
    return np.concatenate(paths), np.concatenate(costs)


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
