"""Digits as strokes of a pen, jittered, slanted and stretched."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
"""Ink 0–255 on black, tightly cropped, some hundred pixels high."""

Draw = Callable[[float], Mask]
"""Draws a shape with a pen of this width, as a part of its height."""

HEIGHT = 400  # pixels of a rendered digit

# Pen strokes in a box of width and height 1, y down. A point written twice in a row is a corner.
STROKES: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.5, 0), (0.12, 0.2), (0.05, 0.6), (0.4, 1), (0.8, 0.8), (0.9, 0.35), (0.5, 0)]],
        [[(0.62, 0.04), (0.2, 0.15), (0.15, 0.8), (0.5, 1), (0.75, 0.6), (0.68, 0.1), (0.4, 0.02)]],
        [[(0.7, 0.12), (0.35, 0), (0.05, 0.5), (0.35, 1), (0.85, 0.7), (0.8, 0.2), (0.5, 0.05)]],
    ],
    1: [
        [[(0.5, 0), (0.5, 0), (0.5, 1)]],
        [[(0.62, 0), (0.62, 0), (0.42, 1)]],
        [[(0.3, 0.25), (0.3, 0.25), (0.55, 0), (0.55, 0), (0.55, 1)]],
        [[(0.3, 0.2), (0.5, 0), (0.5, 0), (0.5, 1)], [(0.25, 1), (0.25, 1), (0.75, 1)]],
        [[(0.05, 0.45), (0.05, 0.45), (0.55, 0), (0.55, 0), (0.55, 1)]],  # a long upstroke
        [
            [(0.1, 0.35), (0.1, 0.35), (0.5, 0), (0.5, 0), (0.5, 1)],
            [(0.15, 1), (0.15, 1), (0.85, 1)],
        ],
    ],
    2: [
        [[(0.1, 0.25), (0.4, 0), (0.8, 0.25), (0.45, 0.65), (0.1, 1), (0.1, 1), (0.9, 1)]],
        [
            [
                (0.15, 0.2),
                (0.45, 0),
                (0.8, 0.25),
                (0.5, 0.7),
                (0.15, 0.95),
                (0.08, 0.85),
                (0.25, 0.8),
                (0.5, 0.97),
                (0.9, 0.9),
            ]
        ],
        [[(0.1, 0.15), (0.6, 0), (0.75, 0.3), (0.2, 1), (0.2, 1), (0.5, 0.93), (0.85, 1)]],
    ],
    3: [
        [
            [
                (0.15, 0.12),
                (0.5, 0),
                (0.78, 0.22),
                (0.4, 0.47),
                (0.4, 0.47),
                (0.85, 0.72),
                (0.5, 1),
                (0.1, 0.88),
            ]
        ],
        [
            [
                (0.15, 0),
                (0.15, 0),
                (0.8, 0),
                (0.8, 0),
                (0.42, 0.42),
                (0.42, 0.42),
                (0.85, 0.65),
                (0.6, 0.98),
                (0.1, 0.92),
            ]
        ],
        [
            [
                (0.2, 0.1),
                (0.6, 0),
                (0.72, 0.25),
                (0.45, 0.45),
                (0.35, 0.5),
                (0.45, 0.5),
                (0.8, 0.75),
                (0.45, 1),
                (0.15, 0.9),
            ]
        ],
    ],
    4: [
        [
            [(0.25, 0), (0.25, 0), (0.12, 0.6), (0.12, 0.6), (0.9, 0.58)],
            [(0.7, 0.15), (0.7, 0.15), (0.65, 1)],
        ],
        [[(0.75, 1), (0.75, 1), (0.75, 0), (0.75, 0), (0.05, 0.68), (0.05, 0.68), (0.95, 0.68)]],
        [
            [(0.2, 0.05), (0.15, 0.35), (0.4, 0.5), (0.8, 0.4)],
            [(0.85, 0.02), (0.85, 0.02), (0.72, 1)],
        ],
        [
            [(0.55, 0), (0.55, 0), (0.1, 0.62), (0.1, 0.62), (0.95, 0.62)],
            [(0.7, 0.38), (0.7, 0.38), (0.68, 1)],
        ],
    ],
    5: [
        [
            [
                (0.2, 0),
                (0.2, 0),
                (0.18, 0.42),
                (0.18, 0.42),
                (0.55, 0.36),
                (0.85, 0.68),
                (0.5, 1),
                (0.1, 0.9),
            ],
            [(0.2, 0.01), (0.2, 0.01), (0.82, 0)],
        ],
        [
            [
                (0.8, 0),
                (0.8, 0),
                (0.25, 0.02),
                (0.25, 0.02),
                (0.2, 0.45),
                (0.2, 0.45),
                (0.6, 0.4),
                (0.82, 0.7),
                (0.5, 1),
                (0.12, 0.92),
            ]
        ],
        [
            [
                (0.25, 0.08),
                (0.25, 0.08),
                (0.2, 0.45),
                (0.2, 0.45),
                (0.6, 0.42),
                (0.8, 0.7),
                (0.5, 1),
                (0.1, 0.93),
            ],
            [(0.32, 0), (0.32, 0), (0.9, 0.03)],  # the bar is detached
        ],
    ],
    6: [
        [[(0.7, 0), (0.25, 0.35), (0.15, 0.75), (0.5, 1), (0.82, 0.75), (0.55, 0.52), (0.2, 0.7)]],
        [[(0.55, 0), (0.2, 0.5), (0.25, 0.92), (0.6, 0.98), (0.75, 0.7), (0.5, 0.58), (0.2, 0.8)]],
        [[(0.35, 0), (0.12, 0.6), (0.4, 1), (0.8, 0.85), (0.6, 0.6), (0.2, 0.75)]],
    ],
    7: [
        [[(0.1, 0.02), (0.1, 0.02), (0.85, 0), (0.85, 0), (0.4, 1)]],
        [
            [(0.1, 0.05), (0.1, 0.05), (0.85, 0), (0.85, 0), (0.35, 1)],
            [(0.25, 0.5), (0.25, 0.5), (0.82, 0.47)],  # crossed
        ],
        [[(0.1, 0.2), (0.1, 0.02), (0.1, 0.02), (0.8, 0.02), (0.8, 0.02), (0.5, 0.5), (0.4, 1)]],
    ],
    8: [
        [
            [
                (0.7, 0.12),
                (0.4, 0),
                (0.2, 0.22),
                (0.5, 0.48),
                (0.82, 0.75),
                (0.5, 1),
                (0.15, 0.78),
                (0.45, 0.5),
                (0.78, 0.22),
                (0.7, 0.12),
            ]
        ],
        [
            [(0.5, 0), (0.25, 0.22), (0.5, 0.45), (0.75, 0.22), (0.5, 0)],
            [(0.5, 0.47), (0.15, 0.75), (0.5, 1), (0.85, 0.72), (0.5, 0.47)],
        ],
        [
            [
                (0.78, 0.05),
                (0.3, 0.05),
                (0.35, 0.4),
                (0.72, 0.75),
                (0.4, 1),
                (0.2, 0.75),
                (0.55, 0.4),
                (0.85, 0.05),
            ]
        ],
    ],
    9: [
        [
            [
                (0.75, 0.2),
                (0.45, 0),
                (0.15, 0.28),
                (0.45, 0.48),
                (0.75, 0.2),
                (0.75, 0.2),
                (0.72, 0.6),
                (0.65, 1),
            ]
        ],
        [
            [
                (0.78, 0.1),
                (0.4, 0.02),
                (0.2, 0.3),
                (0.5, 0.45),
                (0.78, 0.1),
                (0.78, 0.1),
                (0.75, 0.75),
                (0.5, 1),
                (0.15, 0.92),
            ]
        ],
        [[(0.8, 0.25), (0.45, 0), (0.12, 0.28), (0.4, 0.52), (0.8, 0.25), (0.62, 0.65), (0.35, 1)]],
    ],
}


def strokes(digit: int, width: float, rng: np.random.Generator) -> Mask:
    """One of the styles above, jittered, slanted and stretched."""
    style = STROKES[digit][rng.integers(len(STROKES[digit]))]
    slant, aspect = rng.normal(0, 0.12), rng.uniform(0.5, 0.85)
    turn = rng.normal(0, 0.06)
    lines = []
    for stroke in style:
        points = np.array(stroke) - 0.5
        same = [0, *(np.abs(np.diff(points, axis=0)).sum(1) > 0).cumsum()]
        points += rng.normal(0, 0.022, (len(stroke), 2))[same]
        x = points[:, 0] * aspect - slant * points[:, 1]
        y = points[:, 1]
        lines.append(np.stack([x - turn * y, y + turn * x], axis=1))
    return pen(lines, width)


def pen(lines: list[NDArray[np.float64]], width: float) -> Mask:
    """Draw smooth lines, some 1 high, with a round pen of this width."""
    curves = [smooth(line) for line in lines]
    every = np.concatenate(curves)
    low = every.min(axis=0)
    scale = HEIGHT / max(every.max(axis=0) - low)
    thick = max(1, round(width * HEIGHT))
    side = HEIGHT + 2 * thick + 8
    mask = np.zeros((side, side), np.uint8)
    for curve in curves:
        points = ((curve - low) * scale + thick + 4) * 16
        corners = points.round().astype(np.int32)[:, None]
        cv2.polylines(mask, [corners], False, 255, thick, cv2.LINE_AA, shift=4)
    return crop_to_ink(mask)


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Catmull-Rom curve through the points, straight into those written twice."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, 16)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(
            0.5
            * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
        )
    return np.concatenate(pieces)


def crop_to_ink(mask: NDArray[np.uint8]) -> Mask:
    """The part with ink."""
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
