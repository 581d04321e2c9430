"""What a picture shows besides ink: the sheet of paper, its printed lines and its background."""

from typing import TypeVar, cast

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray

from tiny_mnist.inference.image_io import RGBImage

SEARCH_SIDE = 400  # pixels: longer side of the picture in which lines are searched
SMALL_SIDE = 160  # pixels: longer side of the picture in which sheet and background are estimated
# A bright sheet of paper on something darker.
MIN_SHEET_RATIO = 1.7  # median brightness of the sheet / of what is around it
MIN_SHEET_AREA = 0.15  # of its convex hull, as a part of the picture
MIN_SHEET_FILL = 0.88  # of its convex hull that is bright
MIN_TABLE_RIM = 0.04  # part of the picture's border that is dark
MAX_LINE_THICKNESS = 0.015  # thickness of a printed line, in longer sides of the picture
MAX_FLAT_TILT = np.radians(15)  # angle of a printed line to the horizontal
MAX_UPRIGHT_TILT = np.radians(8)  # to the vertical; strokes of slanted digits have more
MAX_SINGLE_TILT = np.radians(8)  # of one alone to the horizontal: it may be a stroke
MIN_LINES = 3  # number of printed lines; fewer may be strokes of a pen
MIN_ROW_ASPECT = 1.3  # width / height above which a picture may show a row of digits
MIN_LINE_LENGTH = 0.5  # part of the width over which a printed line is seen
MIN_SINGLE_LENGTH = 0.85  # the same of one alone
MIN_INK_RATIO = 1.7  # contrast of ink on a printed line / of the line
MAX_FOUND_LINES = 600  # lines of the Hough transform that are looked at, the clearest first
MIN_LINE_DISTANCE = 2.5  # thicknesses of a line; nearer ones are the same
MIN_CONTRAST = 0.06  # contrast of the palest ink; black on white is 1

Mask = Bool[ndarray, "height width"]
Contrast = Float32[ndarray, "height width"]
Array = TypeVar("Array", bound=ndarray)
Line = tuple[tuple[int, int], tuple[int, int]]
"""Both ends of a line, (x, y)."""


def find_sheet(picture: RGBImage) -> Mask | None:
    """Pixels of a bright sheet of paper that lies on something darker, without the sheet's rim.

    Returns:
        None if there is no such sheet: the whole picture is paper, or none of it.
    """
    grey = shrink(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), SMALL_SIDE)
    grey = cv2.morphologyEx(cv2.medianBlur(grey, 5), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    levels = [float(np.median(grey[part])) for part in (bright == 0, bright == 1) if part.any()]
    if len(levels) < 2 or levels[1] < MIN_SHEET_RATIO * levels[0]:
        return None
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    area = cv2.contourArea(hull)
    if area < MIN_SHEET_AREA * bright.size or cv2.contourArea(outline) < MIN_SHEET_FILL * area:
        return None
    whole = np.zeros_like(bright)
    cv2.fillConvexPoly(whole, hull, 1)
    outside = (whole == 0) & (bright == 0)
    rim = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    if rim.mean() < MIN_TABLE_RIM:
        return None
    inner = cv2.erode(np.pad(whole, 1, mode="edge"), np.ones((5, 5), np.uint8))[1:-1, 1:-1]
    return np.asarray(
        cv2.resize(inner, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0, bool
    )


def estimate_background(
    picture: RGBImage, stroke_reach: float | None
) -> Float32[ndarray, "height width 3"]:
    """The picture without its ink: everything dark and narrow is filled in.

    Args:
        picture: a picture with dark ink.
        stroke_reach: what is narrower than this part of the longer side is filled in; None takes
            one colour for the whole picture, for even light.
    """
    if stroke_reach is None:
        return np.full(picture.shape, np.quantile(picture, 0.95, axis=(0, 1)), np.float32)
    small = cv2.medianBlur(shrink(picture, SMALL_SIDE), 3)
    side = round(stroke_reach * max(small.shape[:2])) | 1
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    closed = cv2.GaussianBlur(closed, (0, 0), 2)
    return cv2.resize(closed, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(
        np.float32
    )


def remove_printed_lines(contrast: Contrast) -> Contrast:
    """The contrast without the lines of ruled or squared paper, or of a frame.

    Printed lines are straight and thin and cross the picture, and there are at least `MIN_LINES`:
    a picture of one digit may be crossed by its strokes. In a picture that is wider than high, one
    horizontal line from border to border is enough. Ink that crosses a line is kept.
    """
    flat = find_full_lines(contrast, MAX_FLAT_TILT)
    upright = find_full_lines(np.ascontiguousarray(contrast.T), MAX_UPRIGHT_TILT)
    if len(flat) + len(upright) < MIN_LINES:
        wide = contrast.shape[1] > MIN_ROW_ASPECT * contrast.shape[0]
        flat = find_full_lines(contrast, MAX_SINGLE_TILT, MIN_SINGLE_LENGTH) if wide else []
        upright = []
    if flat:
        contrast = erase_lines(contrast, flat)
    if upright:
        contrast = np.ascontiguousarray(erase_lines(np.ascontiguousarray(contrast.T), upright).T)
    return contrast


def erase_lines(contrast: Contrast, lines: list[Line]) -> Contrast:
    """The contrast without these nearly horizontal lines.

    Ink on a line is kept: it is darker than the line, or continues above and below.
    """
    thick = max(3, round(max(contrast.shape) * MAX_LINE_THICKNESS)) | 1
    core, around = np.zeros(contrast.shape, np.uint8), np.zeros(contrast.shape, np.uint8)
    for start, end in lines:
        cv2.line(core, start, end, 1)
        cv2.line(around, start, end, 1, thick)
    if not core.any():  # by rounding, a line along the border may lie a pixel outside
        return contrast
    crests = cv2.dilate(contrast, np.ones((thick, 1), np.uint8))  # the core may be a pixel beside
    printed = float(np.median(crests[core > 0]))
    tall = cv2.morphologyEx(contrast, cv2.MORPH_OPEN, np.ones((thick, 1), np.uint8))
    on_line = (around > 0) & (contrast < MIN_INK_RATIO * printed)
    erased = np.where(on_line, tall, contrast)
    bridged = cv2.morphologyEx(erased, cv2.MORPH_CLOSE, np.ones((thick + 2, 1), np.uint8))
    return np.asarray(np.where(on_line, np.minimum(contrast, bridged), contrast), np.float32)


def find_full_lines(
    contrast: Contrast, max_tilt: float, part: float = MIN_LINE_LENGTH
) -> list[Line]:
    """Thin straight lines, nearly horizontal, seen over at least this part of the width."""
    small = shrink(contrast, SEARCH_SIDE)
    scale = max(contrast.shape) / max(small.shape)
    width = small.shape[1]
    thick = max(3, round(max(small.shape) * MAX_LINE_THICKNESS)) | 1
    smooth = cv2.blur(small, (thick, 1))
    thin = smooth - cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((thick, 1), np.uint8))
    crest = (thin > max(MIN_CONTRAST / 2, 2 * robust_deviation(smooth))) & (
        thin >= cv2.dilate(thin, np.ones((3, 1)))
    )
    found = cv2.HoughLines(
        crest.astype(np.uint8),
        1.5,
        np.pi / 360,
        int(part * width),
        min_theta=np.pi / 2 - max_tilt,
        max_theta=np.pi / 2 + max_tilt,
    )
    lines: list[Line] = []
    empty = np.zeros((0, 2), np.float32)
    clearest = empty if found is None else found.reshape(-1, found.shape[-1])[:, :2]
    for rho, theta in clearest[:MAX_FOUND_LINES]:
        left, right = (float((rho - x * np.cos(theta)) / np.sin(theta)) for x in (0, width - 1))
        line = (0, round(left * scale)), (contrast.shape[1] - 1, round(right * scale))
        middle = line[0][1] + line[1][1]
        if all(abs(middle - a[1] - b[1]) > MIN_LINE_DISTANCE * thick * scale for a, b in lines):
            lines.append(line)
    return lines


def robust_deviation(contrast: Contrast) -> float:
    """Standard deviation without outliers, from a ninth of the pixels."""
    some = contrast[::3, ::3]
    return 1.4826 * float(np.median(np.abs(some - np.median(some))))


def shrink(picture: Array, longer: int) -> Array:
    """The picture with a longer side of at most this many pixels."""
    scale = min(1.0, longer / max(picture.shape))
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cast("Array", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
