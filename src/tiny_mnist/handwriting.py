"""From a picture to the digits in it, each in MNIST's own form; knows nothing of networks.

MNIST's digits were black-and-white scans, scaled with grey edges so that the longer side of the
digit is 20 pixels, and shifted so that the centre of mass is pixel (14, 14) of 28×28. So ink is
told from the background, the digit found, and its shape drawn again in that way.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from numpy import ndarray

SIDE = 28  # pixels of an image
FIT = 20  # pixels of the digit's longer side
CENTRE = 14  # row and column of the centre of mass
FINE = 8  # fine pixels to one of the image, while the shape is drawn
STROKE = (2.3, 3.4)  # pixels: most of MNIST's strokes are so wide (5 % and 95 %: 1.9 and 4.1)
REACHES = (0.08, 0.16, 0.33, 0.66)  # widths that strokes may have, as parts of the longer side
LARGEST, SEARCHED, SMALLEST = (
    800,
    400,
    160,
)  # pixels of the longer side of a picture while it is searched
SCREEN = 64  # pixels: no picture so small is a photograph in uneven light
DOUBTFUL = -1.0  # plausibility: less than that of any rendered digit; bare paper often has it
NOISE = 0.04  # contrast: more than that is ink that covers half of a picture
FAINT = 0.06  # contrast below which nothing is taken for ink; black on white is 1

Mask = Bool[ndarray, "height width"]
Redrawn = Bool[ndarray, "newheight newwidth"]
Contrast = Float32[ndarray, "height width"]


class Box(NamedTuple):
    """Where something is in a picture, in its pixels; right and bottom are outside."""

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

    def around(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


class Digit(NamedTuple):
    """One digit of a picture."""

    box: Box
    image: UInt8[ndarray, "28 28"]
    """As in MNIST: light on black."""


def find_digits(picture: UInt8[ndarray, "height width 3"]) -> list[Digit]:
    """Every digit of a picture, from left to right, in MNIST's form; none in an empty picture.

    Whether the ink is the darker or the lighter part, and how wide its strokes are, is found by
    trying: what looks most like strokes of a pen is taken.
    """
    work, scale = resized(picture, LARGEST)
    coarse, _ = resized(work, SEARCHED)
    small = max(picture.shape[:2]) <= SCREEN
    tries = [
        Try(plausibility(groups[0], contrast, light), inverted, reach)
        for inverted, light in ((False, coarse), (True, 255 - coarse))
        for reach in ((None,) if small else REACHES)
        for contrast in [ink_contrast(light, reach)]
        if (groups := grouped(ink(contrast)))
    ]
    if not tries:
        return []
    best = max(tries)
    if best.plausibility < DOUBTFUL:
        return []
    digits = []
    for group in grouped(ink(ink_contrast(255 - work if best.inverted else work, best.reach))):
        box = rescaled(bounds(group), 1 / scale, picture.shape[:2])
        digits.append(Digit(box, in_mnist_form(group)))
    return sorted(digits, key=lambda digit: digit.box.left)


class Try(NamedTuple):
    """How well an assumption about the ink did."""

    plausibility: float
    inverted: bool
    """Whether the ink is the lighter part."""
    reach: float | None
    """Width that no stroke exceeds, as a part of the picture's longer side; None: even light."""


def resized(
    picture: UInt8[ndarray, "height width 3"], longer: int
) -> tuple[UInt8[ndarray, "newheight newwidth 3"], float]:
    """The picture with a side of at most so many pixels, and the factor; tiny ones are enlarged."""
    now = max(picture.shape[:2])
    scale = min(1.0, longer / now) if now > SMALLEST else SMALLEST / now
    if scale == 1:
        return picture, 1.0
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation)), scale


def plausibility(
    mask: Mask, contrast: Contrast, picture: UInt8[ndarray, "height width 3"]
) -> float:
    """How much this looks like a digit written with a pen: a score, larger is better."""
    height, width = mask.shape
    box = bounds(mask)
    inside = slice(box.top, box.bottom), slice(box.left, box.right)
    part = np.pad(mask[inside], 1).astype(np.uint8)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, 5)
    ridge = distance[(distance >= cv2.dilate(distance, np.ones((3, 3)))) & (distance > 0)]
    stroke = 2 * float(ridge.mean())
    uneven = float(ridge.std() / ridge.mean())
    edge = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    local = np.ascontiguousarray(contrast[inside])
    strength = float(np.median(local[mask[inside]]))
    slope = np.hypot(cv2.Sobel(local, -1, 1, 0), cv2.Sobel(local, -1, 0, 1)) / 8
    sharp = float(np.median(slope[edge])) / max(strength, 1e-6)  # of the contrast, each pixel
    border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    touching = float(border) / (2 * (box.width + box.height))
    return (
        float(np.log(max(strength, 1e-3)))
        + 0.7 * float(np.log(sharp * stroke + 1e-3))
        - 1.0 * uneven
        - 6 * touching
        + 0.7 * float(np.log(box.size / max(height, width)))
        - 8 * max(0.0, stroke / box.size - 0.3)
        + 4 * distinct(mask, picture)
    )


def distinct(mask: Mask, picture: UInt8[ndarray, "height width 3"]) -> float:
    """Whether this is darker than the rest of the picture: 1; the paper within a loop is not: 0."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    scale = 64 / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.medianBlur(small, 33), grey.shape[::-1])
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8), iterations=2) > 0
    ring = near & ~mask
    dark = float(np.median(grey[mask]))
    light = float(np.quantile(grey[ring], 0.7)) if ring.any() else 255.0
    span = max(light - dark, 1.0)
    levels = (float(np.median(border)), float(np.median(around[mask])))
    return sum(float(np.clip((level - dark) / span, 0, 1)) for level in levels) / 2


def ink_contrast(picture: UInt8[ndarray, "height width 3"], reach: float | None) -> Contrast:
    """How far each pixel is from its background towards the colour of the ink; 1 is black on white.

    The light of a photograph is uneven, so the background is what remains when everything dark and
    narrow is filled in (a morphological closing), and what is compared is the part of its light
    that the ink swallows. Coloured ink swallows some colours more than others: the contrast is
    taken along the mean colour of the strongest pixels.
    """
    ground = background(picture, reach)
    loss = (ground - picture) / np.maximum(ground, 40)
    if reach is not None:
        loss -= np.median(loss, axis=(0, 1))
    strength = np.linalg.norm(loss, axis=2)
    strongest = loss[strength >= np.quantile(strength, 0.998)].mean(axis=0)
    direction = strongest / max(float(np.linalg.norm(strongest)), 1e-6)
    return np.asarray(loss @ direction / np.sqrt(3), np.float32)


def background(
    picture: UInt8[ndarray, "height width 3"], reach: float | None
) -> Float32[ndarray, "height width 3"]:
    """The picture without what is dark and narrower than `reach`, a part of the longer side.

    None is for even light.
    """
    longer = max(picture.shape[:2])
    if reach is None:
        return np.full(picture.shape, np.quantile(picture, 0.95, axis=(0, 1)), np.float32)
    scale = min(1.0, 160 / longer)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.medianBlur(small, 3)
    side = round(reach * longer * scale) | 1
    kernel = np.ones((side, side), np.uint8)
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel)
    closed = cv2.GaussianBlur(closed, (0, 0), 2)
    return cv2.resize(closed, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(
        np.float32
    )


def ink(contrast: Contrast) -> Mask:
    """The pixels of ink: those well above the background's noise, and nearer to ink than to it."""
    noise = min(NOISE, 1.4826 * float(np.median(np.abs(contrast - np.median(contrast)))))
    candidates = contrast[contrast > max(FAINT, 5 * noise)]
    if candidates.size < 12:
        return np.zeros(contrast.shape, bool)
    levels = (candidates.clip(0, 1) * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu / 255, FAINT)
    weak = contrast > max(0.65 * threshold, 3 * noise)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8))
    strong = np.zeros(labels.max() + 1, bool)
    strong[labels[contrast > threshold]] = True
    strong[0] = False
    return np.asarray(strong[labels], bool)


def grouped(mask: Mask) -> list[Mask]:
    """The ink of each digit: strokes near each other belong together, specks to none.

    The digit that stands out most comes first.
    """
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    parts = [
        Part(label, Box(x, y, x + w, y + h), area)
        for label, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1)
    ]
    if not parts:
        return []
    height, width = mask.shape
    whole = Box(0, 0, width, height)
    inner = [p for p in parts if not p.touches(whole)]
    largest = max(parts, key=lambda p: p.area)
    best = max(inner, key=lambda p: p.area, default=largest)
    if best.box.size < 0.06 * max(height, width) or best.area < 0.1 * largest.area:
        best = largest
    if best in inner:
        parts = inner
    parts = [p for p in parts if p.box.size >= 0.08 * best.box.size and p.area > 0.01 * best.area]
    groups: list[list[Part]] = []
    for part in sorted(parts, key=lambda p: -p.area):
        near = [group for group in groups if belongs(part, group)]
        groups = [group for group in groups if group not in near]
        groups.append(sum(near, [part]))
    groups.sort(key=lambda group: best not in group)
    biggest = bound(groups[0]).size
    return [
        selected(labels, group)
        for group in groups
        if best in group or bound(group).height >= 0.5 * biggest
    ]


def selected(labels: Int32[ndarray, "height width"], group: list["Part"]) -> Mask:
    """The pixels of these pieces."""
    chosen = np.zeros(int(labels.max()) + 1, bool)
    chosen[[part.label for part in group]] = True
    return np.asarray(chosen[labels], bool)


class Part(NamedTuple):
    """A connected piece of ink."""

    label: int
    box: Box
    area: int

    def touches(self, whole: Box) -> bool:
        """Whether it reaches the border of the picture."""
        return (
            self.box.left <= whole.left
            or self.box.top <= whole.top
            or self.box.right >= whole.right
            or self.box.bottom >= whole.bottom
        )


def belongs(part: Part, group: list[Part]) -> bool:
    """Whether a piece of ink is a stroke of the same digit as these."""
    box = bound(group)
    across = max(part.box.left - box.right, box.left - part.box.right)
    along = max(part.box.top - box.bottom, box.top - part.box.bottom)
    return across < 0.05 * box.size and along < 0.25 * box.size


def bound(group: list[Part]) -> Box:
    """The box around all pieces."""
    box = group[0].box
    for part in group[1:]:
        box = box.around(part.box)
    return box


def bounds(mask: Mask) -> Box:
    """The box around the ink; there must be some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def rescaled(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """The box in the pixels of the picture as it came."""
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return Box(left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0]))


def in_mnist_form(mask: Mask, stroke: tuple[float, float] = STROKE) -> UInt8[ndarray, "28 28"]:
    """Draw a digit's shape as MNIST's were: size, grey edges, width of the stroke, place."""
    fine = fitted(mask, FIT * FINE)
    width = stroke_width(fine) / FINE
    wanted = float(np.clip(width, *stroke))
    # A wider stroke makes the digit larger, and fitting it again makes all smaller.
    growth = FINE * (wanted - width) / (2 * (1 - wanted / FIT))
    if abs(growth) > 0.25:
        fine = fitted(grown(fine, growth), FIT * FINE)
    cover = fine.astype(np.float32)
    total = cover.sum()
    y = float((cover.sum(axis=1) @ np.arange(len(cover))) / total)
    x = float((cover.sum(axis=0) @ np.arange(cover.shape[1])) / total)
    middle = (CENTRE + 0.5) * FINE - 0.5
    motion = np.array([[1, 0, middle - x], [0, 1, middle - y]], np.float32)
    placed = cv2.warpAffine(cover, motion, (SIDE * FINE, SIDE * FINE))
    image = cv2.resize(placed, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray((image * 255).round().clip(0, 255), np.uint8)


def fitted(mask: Mask, longer: int) -> Redrawn:
    """The ink alone, its longer side so many pixels, with smooth edges."""
    box = bounds(mask)
    part = mask[box.top : box.bottom, box.left : box.right].astype(np.float32)
    scale = longer / box.size
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    large = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scale > 1:
        large = cv2.GaussianBlur(large, (0, 0), scale / 2, borderType=cv2.BORDER_CONSTANT)
    smooth = np.asarray(large >= 0.5, bool)
    return smooth if smooth.any() else np.ones(smooth.shape, bool)


def stroke_width(mask: Mask) -> float:
    """Mean width of the strokes: in a bar, four times the mean distance to its edge."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return 4 * float(distance[distance > 0].mean())


def grown(mask: Mask, by: float) -> Redrawn:
    """The shape with its edges moved outwards (or inwards, if negative) by so many pixels."""
    margin = max(0, int(np.ceil(by))) + 1
    padded = np.pad(mask, margin)
    if by > 0:
        distance = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray(distance <= by, bool)
    distance = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, 5)
    thinner = np.asarray(distance > -by, bool)
    return thinner if thinner.any() else padded
