"""From a picture to the digits in it, each in MNIST's own form; knows nothing of networks.

MNIST's digits were black-and-white scans, scaled with grey edges so that the longer side of the
digit is 20 pixels, and shifted so that the centre of mass is pixel (14, 14) of 28×28. So ink is
told from the background, the digit found, and its shape drawn again in that way.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from numpy import ndarray

SIDE = 28  # pixels of an image
FIT = 20  # pixels of the digit's longer side
CENTRE = 14  # row and column of the centre of mass
FINE = 8  # fine pixels to one of the image, while the shape is drawn
STROKE = (2.3, 3.4)  # pixels: most of MNIST's strokes are so wide (5 % and 95 %: 1.9 and 4.1)
SMALL = 24  # pixels: the greys of a digit no larger are part of its shape
REACHES = (0.08, 0.16, 0.33, 0.66)  # widths that strokes may have, as parts of the longer side
LARGEST = 800  # pixels of the longer side of the picture in which the digit is drawn again
SEARCHED = 400  # of that in which it is searched
SMALLEST = 160  # smaller pictures are enlarged
SCREEN = 64  # pixels: no picture so small is a photograph in uneven light
DOUBTFUL = 0.25  # plausibility: nearly all rendered digits have more, most bare paper less
NOISE = 0.04  # contrast: more than that is ink that covers half of a picture
THIN = 0.015  # part of the longer side: the width of no printed line is more
TURN = np.radians(8)  # a printed line is no further from level or upright
ELSEWHERE = 1.0  # plausibility lost by what is not on the sheet, where there is one
MOST_PARTS = 60  # pieces of ink looked at, the largest: more are noise
FAINT = 0.06  # contrast below which nothing is taken for ink; black on white is 1

Mask = Bool[ndarray, "height width"]
Redrawn = Bool[ndarray, "newheight newwidth"]
Contrast = Float32[ndarray, "height width"]
Pixels = TypeVar("Pixels", bound=ndarray)
Colours = UInt8[ndarray, "height width 3"]
Line = tuple[tuple[int, int], tuple[int, int]]
"""Both ends, (x, y)."""


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


class View(NamedTuple):
    """What is assumed about a picture, to find the ink in it."""

    inverted: bool
    """Whether the ink is the lighter part."""
    on_sheet: bool
    """Whether only what lies on a bright sheet of paper counts, not the table around it."""
    reach: float | None
    """Width that no stroke exceeds, as a part of the picture's longer side; None: even light."""
    cut: bool
    """Whether the digit may touch the border of the picture."""


def find_digits(picture: UInt8[ndarray, "height width 3"]) -> list[Digit]:
    """Every digit of a picture, from left to right, in MNIST's form; none in an empty picture.

    Whether the ink is the darker or the lighter part, and how wide its strokes are, is found by
    trying: what looks most like strokes of a pen is taken.
    """
    work, scale = resized(picture, LARGEST)
    coarse, _ = resized(work, SEARCHED)
    small = max(picture.shape[:2]) <= SCREEN
    tries = [found for found in tried(coarse, small) if found[0] >= DOUBTFUL]
    for _score, view in sorted(tries, key=lambda found: -found[0]):
        look = looked_at(work, view)
        if groups := grouped(ink(look.contrast), look.rim, view.cut):
            break
    else:
        return []
    digits = []
    for group in groups:
        box = rescaled(bounds(group), 1 / scale, picture.shape[:2])
        if box.size > SMALL:
            image = in_mnist_form(group)
        else:
            native = looked_at(picture, view).contrast if scale > 1 else look.contrast
            image = in_greys(group, native)
        digits.append(Digit(box, image))
    return sorted(digits, key=lambda digit: digit.box.left)


def tried(picture: Colours, small: bool) -> Iterator[tuple[float, View]]:
    """Every view of a picture in which there is ink, and how plausible it makes a digit."""
    paper = None if small else sheet(picture)
    for inverted, on_sheet in ((False, False), (True, False), (False, True)):
        if on_sheet and paper is None:
            continue
        for reach in (None,) if small else REACHES:
            view = View(inverted, on_sheet, reach, False)
            look = looked_at(picture, view)
            mask = ink(look.contrast)
            beside = ELSEWHERE if paper is not None and not on_sheet else 0.0
            if whole := grouped(mask, look.rim, cut=False):
                yield plausibility(whole[0], mask, look) - beside, view
            if not on_sheet and (mask & look.rim).any():
                touching = grouped(mask, look.rim, cut=True)[0]
                yield plausibility(touching, mask, look) - beside, view._replace(cut=True)


class Look(NamedTuple):
    """What a view of a picture shows."""

    contrast: Contrast
    light: Colours
    """The picture with the ink dark, and nothing but the sheet."""
    rim: Mask
    """The border of the picture or the sheet."""


def looked_at(picture: Colours, view: View) -> Look:
    """A picture as it is under these assumptions."""
    light = 255 - picture if view.inverted else picture
    paper = sheet(picture) if view.on_sheet else None
    if paper is None:
        paper = np.ones(picture.shape[:2], bool)
    else:
        light = light.copy()
        light[~paper] = np.median(light[paper], axis=0)
    contrast = ink_contrast(light, view.reach)
    if view.reach is not None:
        contrast = without_lines(contrast)
    contrast[~paper] = 0
    inner = cv2.erode(np.pad(paper, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return Look(contrast, light, paper & (inner == 0))


def sheet(picture: Colours) -> Mask | None:
    """Where a bright sheet of paper lies on something darker, without its rim; None: nowhere."""
    grey = shrunk(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 160)
    grey = cv2.morphologyEx(cv2.medianBlur(grey, 5), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    levels = [float(np.median(grey[part])) for part in (bright == 0, bright == 1) if part.any()]
    if len(levels) < 2 or levels[1] < 1.7 * levels[0]:
        return None
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    area = cv2.contourArea(hull)
    if area < 0.15 * bright.size or cv2.contourArea(outline) < 0.88 * area:
        return None
    whole = np.zeros_like(bright)
    cv2.fillConvexPoly(whole, hull, 1)
    outside = (whole == 0) & (bright == 0)
    rim = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    if rim.mean() < 0.04:
        return None
    inner = cv2.erode(np.pad(whole, 1, mode="edge"), np.ones((5, 5), np.uint8))[1:-1, 1:-1]
    return np.asarray(
        cv2.resize(inner, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0, bool
    )


def without_lines(contrast: Contrast) -> Contrast:
    """The contrast without the lines of ruled or squared paper, or of a frame.

    Such lines are straight, thin, and cross the picture; there are three or more. What crosses
    them is kept: the gaps are closed across each line.
    """
    flat, upright = full_lines(contrast), full_lines(np.ascontiguousarray(contrast.T))
    if len(flat) + len(upright) < 3:
        return contrast
    if flat:
        contrast = erased(contrast, flat)
    if upright:
        contrast = np.ascontiguousarray(erased(np.ascontiguousarray(contrast.T), upright).T)
    return contrast


def erased(contrast: Contrast, lines: list[Line]) -> Contrast:
    """Without these lines, nearly level; ink on them is darker, or goes on above and below."""
    thick = max(3, round(max(contrast.shape) * THIN)) | 1
    core, around = np.zeros(contrast.shape, np.uint8), np.zeros(contrast.shape, np.uint8)
    for start, end in lines:
        cv2.line(core, start, end, 1)
        cv2.line(around, start, end, 1, thick)
    crests = cv2.dilate(contrast, np.ones((thick, 1), np.uint8))  # the core may be a pixel beside
    printed = float(np.median(crests[core > 0]))
    tall = cv2.morphologyEx(contrast, cv2.MORPH_OPEN, np.ones((thick, 1), np.uint8))
    on_line = (around > 0) & (contrast < 1.7 * printed)
    gone = np.where(on_line, tall, contrast)
    bridged = cv2.morphologyEx(gone, cv2.MORPH_CLOSE, np.ones((thick + 2, 1), np.uint8))
    return np.asarray(np.where(on_line, np.minimum(contrast, bridged), contrast), np.float32)


def full_lines(contrast: Contrast) -> list[Line]:
    """Ends of the thin straight lines, nearly level, that cross most of the picture."""
    small = shrunk(contrast, SEARCHED)
    scale = max(contrast.shape) / max(small.shape)
    width = small.shape[1]
    thick = max(3, round(max(small.shape) * THIN)) | 1
    smooth = cv2.blur(small, (thick, 1))
    thin = smooth - cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((thick, 1), np.uint8))
    noise = spread(smooth)
    crest = (thin > max(FAINT / 2, 2 * noise)) & (thin >= cv2.dilate(thin, np.ones((3, 1))))
    found = cv2.HoughLines(
        crest.astype(np.uint8),
        1.5,
        np.pi / 360,
        int(0.5 * width),
        min_theta=np.pi / 2 - TURN,
        max_theta=np.pi / 2 + TURN,
    )
    lines: list[Line] = []
    for rho, theta in [] if found is None else found.reshape(-1, found.shape[-1])[:600, :2]:
        left, right = (float((rho - x * np.cos(theta)) / np.sin(theta)) for x in (0, width - 1))
        line = (0, round(left * scale)), (contrast.shape[1] - 1, round(right * scale))
        middle = line[0][1] + line[1][1]
        if all(abs(middle - a[1] - b[1]) > 2.5 * thick * scale for a, b in lines):
            lines.append(line)
    return lines


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


def shrunk(picture: Pixels, longer: int) -> Pixels:
    """With a side of so many pixels, where it has more."""
    scale = min(1.0, longer / max(picture.shape[:2]))
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cast("Pixels", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def plausibility(mask: Mask, every: Mask, look: Look) -> float:
    """How much a piece of every ink looks like a digit written with a pen: larger is better.

    The weights are those of a logistic regression: whether the digit was read right, over the views
    of some 700 rendered pictures (research/scenes.py).
    """
    contrast = look.contrast
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
    touching = float((mask & look.rim).sum()) / (2 * (box.width + box.height))
    part_of_picture = float(np.log(box.size / max(mask.shape)))
    return (
        1.63
        + 0.72 * float(np.log(max(strength, 1e-3)))
        + 0.3 * float(np.log(sharp * stroke + 1e-3))
        - 1.66 * uneven
        - 2.98 * touching
        + 0.27 * part_of_picture
        - 8.45 * max(0.0, stroke / box.size - 0.3)
        + 2.07 * distinct(mask, look.light)
        - 2.48 * max(0.0, float(np.log(box.width / box.height)))
        + 0.47 * float(np.log(mask.sum() / every.sum()))
        + (0.69 * part_of_picture - 0.49) * (touching > 0)
    )


def distinct(mask: Mask, picture: Colours) -> float:
    """Whether this is darker than the rest of the picture: 1; the paper within a loop is not: 0."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    around = cv2.resize(cv2.medianBlur(shrunk(grey, 64), 33), grey.shape[::-1])
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    ring = grey[cv2.dilate(near, np.ones((5, 5), np.uint8)) > near]
    dark = float(np.median(grey[mask]))
    light = float(np.quantile(ring, 0.7)) if ring.size else 255.0
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
        loss -= np.median(loss[::3, ::3].reshape(-1, 3), axis=0)
    strength = np.linalg.norm(loss, axis=2)
    strongest = loss[strength >= np.quantile(strength[::2, ::2], 0.998)].mean(axis=0)
    direction = strongest / max(float(np.linalg.norm(strongest)), 1e-6)
    return np.asarray(loss @ direction / np.sqrt(3), np.float32)


def background(
    picture: UInt8[ndarray, "height width 3"], reach: float | None
) -> Float32[ndarray, "height width 3"]:
    """The picture without what is dark and narrower than `reach`, a part of the longer side.

    None is for even light.
    """
    if reach is None:
        return np.full(picture.shape, np.quantile(picture, 0.95, axis=(0, 1)), np.float32)
    small = cv2.medianBlur(shrunk(picture, 160), 3)
    side = round(reach * max(small.shape[:2])) | 1
    kernel = np.ones((side, side), np.uint8)
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel)
    closed = cv2.GaussianBlur(closed, (0, 0), 2)
    return cv2.resize(closed, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(
        np.float32
    )


def spread(contrast: Contrast) -> float:
    """Standard deviation without outliers, from a ninth of the pixels."""
    some = contrast[::3, ::3]
    return 1.4826 * float(np.median(np.abs(some - np.median(some))))


def ink(contrast: Contrast) -> Mask:
    """The pixels of ink: those well above the background's noise, and nearer to ink than to it."""
    noise = min(NOISE, spread(contrast))
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


def grouped(mask: Mask, rim: Mask, cut: bool) -> list[Mask]:
    """The ink of each digit: strokes near each other belong together, specks to none.

    What touches the rim is left out, unless the digit may be cut. The digit that stands out most
    comes first.
    """
    _count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    touching = set(labels[rim].tolist())
    parts = [
        Part(label, Box(x, y, x + w, y + h), area, label in touching)
        for label, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1)
    ]
    parts = sorted(parts, key=lambda p: -p.area)[:MOST_PARTS]
    parts = [p for p in parts if (cut or not p.cut) and not frames(p, parts)]
    if not parts:
        return []
    best = parts[0]
    parts = [p for p in parts if p.box.size >= 0.08 * best.box.size and p.area > 0.01 * best.area]
    groups: list[list[Part]] = []
    for part in parts:
        near = [group for group in groups if belongs(part, group)]
        groups = [group for group in groups if group not in near]
        groups.append(sum(near, [part]))
    groups.sort(key=lambda group: best not in group)
    biggest = bound(groups[0]).size
    return [
        selected(labels, group)
        for group in groups
        if best in group
        or (bound(group).height >= 0.5 * biggest and (best.cut or not any(p.cut for p in group)))
    ]


def frames(part: "Part", parts: list["Part"]) -> bool:
    """Whether this is a hollow frame with something of size in it."""
    return part.area < 0.4 * part.box.width * part.box.height and any(
        other.box.size > 0.25 * part.box.size
        and other.area > 0.02 * part.area
        and part.box.left < other.box.left
        and other.box.right < part.box.right
        and part.box.top < other.box.top
        and other.box.bottom < part.box.bottom
        for other in parts
    )


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
    cut: bool
    """Whether it reaches the rim."""


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


def in_greys(mask: Redrawn, contrast: Contrast) -> UInt8[ndarray, "28 28"]:
    """A small digit in MNIST's form, with its own greys; one that is in that form stays the same.

    The mask may be in another scale.
    """
    near = cv2.resize(mask.astype(np.uint8), contrast.shape[::-1], interpolation=cv2.INTER_AREA)
    near = cv2.dilate(near, np.ones((3, 3), np.uint8))
    cover = np.where(near > 0, contrast, 0).clip(0)
    if cover.max() < FAINT:
        return in_mnist_form(mask)
    cover = cover / np.quantile(cover[cover > 0.3 * cover.max()], 0.9)
    box = bounds(cover > 0.08)
    part = cover[box.top : box.bottom, box.left : box.right].astype(np.float32)
    scale = FIT / box.size
    if scale != 1:
        size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
        way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        part = np.asarray(cv2.resize(part, size, interpolation=way), np.float32)
    if scale > 1.2:  # enlarging has blurred it
        part = (part - 0.5) * 1.5 + 0.5
    levels = (part * 255).round().clip(0, 255).astype(np.uint8)
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (levels.sum(axis, dtype=float) for axis in (1, 0))
    centres = (float(side @ np.arange(len(side)) / side.sum()) for side in (rows, columns))
    top, left = (
        int(np.clip(round(CENTRE - centre), 0, SIDE - length))
        for centre, length in zip(centres, levels.shape, strict=True)
    )
    image[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
    return image


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
