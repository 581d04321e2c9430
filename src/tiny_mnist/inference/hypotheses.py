"""What may be assumed about a picture in order to find its ink."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.ink import find_ink, ink_contrast
from tiny_mnist.inference.paper import Contrast, Mask, find_sheet, remove_printed_lines
from tiny_mnist.inference.segmentation.components import frame_mask, largest_groups

STROKE_REACHES = (0.08, 0.16, 0.33, 0.66)  # widths of strokes, in longer sides of the picture


class Hypothesis(NamedTuple):
    """What is assumed about a picture in order to find its ink."""

    inverted: bool
    """Whether the ink is lighter than the background."""
    on_sheet: bool
    """Whether only what lies on a bright sheet of paper counts."""
    stroke_reach: float | None
    """Width that no stroke exceeds, as a part of the picture's longer side; None: even light."""
    touches_border: bool
    """Whether the digit may touch the border of the picture."""


class InkSegmentation(NamedTuple):
    """A picture under a hypothesis."""

    contrast: Contrast
    dark_on_light: RGBImage
    """The picture with dark ink on light; what is not on the sheet has the sheet's colour."""
    rim: Mask
    """The outermost pixels of the picture or the sheet."""


class Group(NamedTuple):
    """A group of strokes under a hypothesis, by which it is judged."""

    hypothesis: Hypothesis
    segmentation: InkSegmentation
    ink: Mask
    """All ink of the picture."""
    mask: Mask
    """The ink of the group."""
    off_sheet: bool
    """Whether there is a sheet of paper and the hypothesis does not assume it."""


def find_groups(picture: RGBImage, small: bool) -> Iterator[Group]:
    """Every hypothesis that finds ink in a picture, with its largest group of strokes.

    If that is an object, such as a pen, the hypothesis comes again with its largest other group.

    Args:
        picture: its longer side at most `SEARCH_SIDE`.
        small: whether the original picture is so small that its light is even.
    """
    sheet = None if small else find_sheet(picture)
    for inverted, on_sheet in ((False, False), (True, False), (False, True)):
        if on_sheet and sheet is None:
            continue
        off_sheet = sheet is not None and not on_sheet
        for reach in (None,) if small else STROKE_REACHES:
            hypothesis = Hypothesis(inverted, on_sheet, reach, False)
            segmentation = apply_hypothesis(picture, hypothesis)
            ink = find_ink(segmentation.contrast)
            for inner in largest_groups(ink, segmentation.rim, touches_border=False):
                yield Group(hypothesis, segmentation, ink, inner, off_sheet)
            if not on_sheet and (ink & segmentation.rim).any():
                hypothesis = hypothesis._replace(touches_border=True)
                for touching in largest_groups(ink, segmentation.rim, touches_border=True):
                    yield Group(hypothesis, segmentation, ink, touching, off_sheet)
        if not small and not on_sheet:
            group = find_filling_group(picture, inverted, off_sheet)
            if group is not None:
                yield group


def find_filling_group(picture: RGBImage, inverted: bool, off_sheet: bool) -> Group | None:
    """Strokes from the upper to the lower border; None if there are none.

    They may hide so much of the background that its light cannot be estimated: it counts as even.
    """
    hypothesis = Hypothesis(inverted, False, None, True)
    segmentation = apply_hypothesis(picture, hypothesis)
    ink = find_ink(segmentation.contrast)
    for group in largest_groups(ink, segmentation.rim, touches_border=True):
        if group[0].any() and group[-1].any():
            return Group(hypothesis, segmentation, ink, group, off_sheet)
    return None


def apply_hypothesis(picture: RGBImage, hypothesis: Hypothesis) -> InkSegmentation:
    """The contrast of a picture's ink under a hypothesis."""
    dark_on_light = 255 - picture if hypothesis.inverted else picture
    sheet = find_sheet(picture) if hypothesis.on_sheet else None
    if sheet is None:
        sheet = np.ones(picture.shape[:2], bool)
    else:
        dark_on_light = dark_on_light.copy()
        dark_on_light[~sheet] = np.median(dark_on_light[sheet], axis=0)
    contrast = ink_contrast(dark_on_light, hypothesis.stroke_reach)
    if hypothesis.stroke_reach is not None:
        contrast = remove_printed_lines(remove_frames(contrast))
    contrast[~sheet] = 0
    inner = cv2.erode(np.pad(sheet, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return InkSegmentation(contrast, dark_on_light, sheet & (inner == 0))


def remove_frames(contrast: Contrast) -> Contrast:
    """The contrast without the printed boxes of a form."""
    mask = find_ink(contrast)
    frames = frame_mask(mask)
    if not frames.any():
        return contrast
    near = cv2.dilate(frames.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(near & ~(mask & ~frames), np.minimum(contrast, 0), contrast)
