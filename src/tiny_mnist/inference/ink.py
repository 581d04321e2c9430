"""Which pixels of a picture are ink."""

import cv2
import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray

from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.paper import (
    MIN_CONTRAST,
    Contrast,
    Mask,
    estimate_background,
    robust_deviation,
)

MAX_NOISE = 0.04  # contrast: the noise counts as no more; ink may cover half of the picture
MIN_BACKGROUND = 40  # of 255: darker backgrounds count as this, or their noise would be ink
STRONGEST_PART = 0.002  # of the pixels, along whose mean colour the contrast is taken
MIN_INK = 12  # pixels of all ink
STRONG_NOISE, WEAK_NOISE = 5, 3  # standard deviations of noise below both thresholds of `find_ink`
INK_EXTENT = 0.65  # weaker threshold of `find_ink`, as a part of the stronger one
MIN_HOLE_AREA = 30  # pixels of a hole whose brightness is looked at
MIN_HOLE_PART = 0.2  # the same, as a part of the shape with its holes, if the shape may be removed
MIN_FILLED_PART = 0.03  # the same, if the hole may be filled
MIN_DEPTH = 0.25  # how much darker a stroke is than both of its sides; an outline has about 0
SURROUNDINGS = 2, 6  # pixels from a shape: where it is measured how bright it is around it
BESIDE_BAR = (2, 6), (6, 14), (14, 22)  # the same for a bar; lines of a cell are narrower
MAX_SHAPES = 200  # number of the largest shapes that may be bars
MIN_BAR_ASPECT = 2.5  # length / width of a bar
MIN_BAR_LENGTH = 20  # pixels; shorter ones have too few pixels beside them

Outline = Int32[ndarray, "_ 1 2"]
"""Points (x, y) around a shape or a hole."""


def ink_contrast(picture: RGBImage, stroke_reach: float | None) -> Contrast:
    """Distance of each pixel from its background in the direction of the ink's colour.

    The light of a photograph is uneven, so a pixel is compared with the background around it, and
    what counts is the part of the light that the ink absorbs: 0 is background, 1 is black on
    white. Coloured ink absorbs some colours more than others: the contrast is taken along the mean
    colour of the strongest pixels.

    Args:
        picture: a picture with dark ink.
        stroke_reach: the width of strokes, as in `estimate_background`.
    """
    background = estimate_background(picture, stroke_reach)
    loss = (background - picture) / np.maximum(background, MIN_BACKGROUND)
    if stroke_reach is not None:
        loss -= np.median(loss[::3, ::3].reshape(-1, 3), axis=0)
    strength = np.linalg.norm(loss, axis=2)
    strongest = loss[strength >= np.quantile(strength[::2, ::2], 1 - STRONGEST_PART)].mean(axis=0)
    direction = strongest / max(float(np.linalg.norm(strongest)), 1e-6)
    return np.asarray(loss @ direction / np.sqrt(3), np.float32)


def find_ink(contrast: Contrast, extent: float = INK_EXTENT) -> Mask:
    """The pixels of ink, by two thresholds.

    A connected region is ink if some of it is above Otsu's threshold; it extends to the pixels
    above `extent` of it. Both thresholds are well above the background's noise.
    """
    noise = min(MAX_NOISE, robust_deviation(contrast))
    candidates = contrast[contrast > max(MIN_CONTRAST, STRONG_NOISE * noise)]
    if candidates.size < MIN_INK:
        return np.zeros(contrast.shape, bool)
    levels = (candidates.clip(0, 1) * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu / 255, MIN_CONTRAST)
    weak = contrast > max(extent * threshold, WEAK_NOISE * noise)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8))
    strong = np.zeros(labels.max() + 1, bool)
    strong[labels[contrast > threshold]] = True
    strong[0] = False
    return np.asarray(strong[labels], bool)


def remove_edges(ink: Mask, picture: RGBImage) -> Mask:
    """The ink without shapes that are only the outline or the edge of something else.

    Args:
        ink: what was found in the picture.
        picture: with dark ink.
    """
    return remove_steps(remove_outlines(ink, picture), picture)


def remove_outlines(ink: Mask, picture: RGBImage) -> Mask:
    """The ink without shapes that are only the outline of something else.

    Of a blot that is wider than the strokes that are searched, the edge alone is found: a ring. If
    it is as dark as what it encloses, that is ink, too; if it is as dark as its surroundings, it is
    none.

    Args:
        ink: what was found in the picture.
        picture: with dark ink.
    """
    strokes = ink.astype(np.uint8)
    outlines, tree = cv2.findContours(strokes, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    _, labels = cv2.connectedComponents(strokes)
    for hole, (*_, parent) in zip(outlines, tree[0] if outlines else (), strict=True):
        if parent < 0:
            continue
        shape, area = outlines[parent], cv2.contourArea(hole)
        part = area / max(1.0, cv2.contourArea(shape))
        if area <= MIN_HOLE_AREA or part <= MIN_FILLED_PART:
            continue
        inside, outside = measure_depths(hole, shape, ink, picture)
        if outside < MIN_DEPTH and part > MIN_HOLE_PART:
            x, y = shape[0, 0]
            strokes[labels == labels[y, x]] = 0
        elif inside < MIN_DEPTH:
            cv2.drawContours(strokes, [hole], 0, 1, cv2.FILLED)
    return strokes > 0


def remove_steps(ink: Mask, picture: RGBImage) -> Mask:
    """The ink without bars that are as dark as one of their sides.

    Where paper ends on a table, or light in a shadow, the strip beside the step alone is found.

    Args:
        ink: what was found in the picture.
        picture: with dark ink.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
    lengths = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    largest = np.argsort(-stats[:, cv2.CC_STAT_AREA])[: MAX_SHAPES + 1]
    steps = []
    for label in largest:
        if label == 0 or lengths[label] < MIN_BAR_LENGTH:  # 0 is the background
            continue
        left, top, width, height, _ = stats[label].tolist()
        far = BESIDE_BAR[-1][1]
        area = np.s_[
            max(0, top - far) : top + height + far, max(0, left - far) : left + width + far
        ]
        bar = labels[area] == label
        if is_bar(bar) and is_step(bar, ink[area], picture[area]):
            steps.append(label)
    return ink & ~np.isin(labels, steps)


def is_bar(mask: Mask) -> bool:
    """Whether a shape is much longer than wide, at any angle."""
    points = np.argwhere(mask).astype(np.float32)
    short, long = sorted(side + 1 for side in cv2.minAreaRect(points)[1])
    return bool(long > MIN_BAR_ASPECT * short)


def is_step(bar: Mask, ink: Mask, picture: RGBImage) -> bool:
    """Whether a bar is as dark as what lies along one of its long sides, near and far.

    Each side is compared with the half of the bar that is next to it: light may end in the middle.
    """
    points = np.argwhere(bar)
    middle = points.mean(axis=0)
    along = np.linalg.svd(points - middle, full_matrices=False)[2][0]
    across = np.array([-along[1], along[0]])
    length = np.abs((points - middle) @ along).max()
    rings = [np.argwhere(ring_around(bar, reaches) & ~ink) for reaches in BESIDE_BAR]
    beside = [ring[np.abs((ring - middle) @ along) < length] for ring in rings]
    depths = []
    for sign in (-1, 1):
        half = points[sign * ((points - middle) @ across) > -0.5]  # a line has one pixel
        sides = [pixels[sign * ((pixels - middle) @ across) > 0] for pixels in beside]
        found = [
            measure_depth(picture[tuple(side.T)], picture[tuple(half.T)])
            for side in sides
            if len(side)
        ]
        depths.append(max(found, default=0.0))
    return 0 < min(depths) < MIN_DEPTH * max(depths)


def measure_depths(
    hole: Outline, shape: Outline, ink: Mask, picture: RGBImage
) -> tuple[float, float]:
    """How much darker a shape is than its hole, and than its surroundings.

    1 for the brighter one of these; 0 for one that is as dark as the shape.
    """
    x, y, width, height = cv2.boundingRect(shape)
    far = SURROUNDINGS[1]
    left, top = max(0, x - far), max(0, y - far)
    area = np.s_[top : y + height + far, left : x + width + far]
    ink, picture = ink[area], picture[area]
    inside, whole = np.zeros(ink.shape, np.uint8), np.zeros(ink.shape, np.uint8)
    cv2.drawContours(inside, [hole], 0, 1, cv2.FILLED, offset=(-left, -top))
    cv2.drawContours(whole, [shape], 0, 1, cv2.FILLED, offset=(-left, -top))
    sides = (inside > 0) & ~ink, ring_around(whole > 0, SURROUNDINGS) & ~ink
    if not all(side.any() for side in sides):
        return 1.0, 1.0
    strokes = picture[(whole > 0) & ink]
    one, other = (measure_depth(picture[side], strokes) for side in sides)
    full = max(one, other)
    return one / full, other / full


def ring_around(shape: Mask, reaches: tuple[int, int]) -> Mask:
    """The pixels between two distances from a shape."""
    near, far = (
        cv2.dilate(shape.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        for reach in reaches
    )
    return np.asarray(far > near, bool)


def measure_depth(side: UInt8[ndarray, "_ 3"], strokes: UInt8[ndarray, "_ 3"]) -> float:
    """How much darker strokes are than what is beside them, as a part of its light; above 0.

    The colour that differs most counts: in grey, coloured ink may be as bright as its paper.
    """
    light, dark = np.median(side, axis=0), np.median(strokes, axis=0)
    return max(1e-6, float(((light - dark) / np.maximum(light, MIN_BACKGROUND)).max()))
