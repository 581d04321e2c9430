"""What may be assumed about a picture in order to find its ink."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from tiny_mnist.inference.ink import find_ink, ink_contrast
from tiny_mnist.inference.paper import Colours, Contrast, Mask, find_sheet, remove_printed_lines
from tiny_mnist.inference.segmentation.components import frame_mask, largest_group

STROKE_REACHES = (0.08, 0.16, 0.33, 0.66)  # as parts of the longer side


class Hypothesis(NamedTuple):
    """What is assumed about a picture in order to find its ink."""

    inverted: bool
    """Whether the ink is lighter than the background."""
    on_sheet: bool
    """Whether only what lies on a bright sheet of paper counts."""
    stroke_reach: float | None
    """Width that no stroke exceeds, as a part of the picture's longer side; None: even light."""
    cut: bool
    """Whether the digit may touch the border of the picture."""


class Segmentation(NamedTuple):
    """A picture under a hypothesis."""

    contrast: Contrast
    light: Colours
    """The picture with dark ink; what is not on the sheet has the sheet's colour."""
    rim: Mask
    """The outermost pixels of the picture or the sheet."""


class Group(NamedTuple):
    """The largest group of strokes under a hypothesis."""

    hypothesis: Hypothesis
    segmentation: Segmentation
    ink: Mask
    """All ink of the picture."""
    mask: Mask
    """The group."""
    off_sheet: bool
    """Whether the hypothesis looks beside the sheet of paper that there is."""


def find_groups(picture: Colours, small: bool) -> Iterator[Group]:
    """Every hypothesis that finds ink in a picture, with its largest group of strokes.

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
            inner = largest_group(ink, segmentation.rim, cut=False)
            if inner is not None:
                yield Group(hypothesis, segmentation, ink, inner, off_sheet)
            if not on_sheet and (ink & segmentation.rim).any():
                touching = largest_group(ink, segmentation.rim, cut=True)
                if touching is not None:
                    cut = hypothesis._replace(cut=True)
                    yield Group(cut, segmentation, ink, touching, off_sheet)


def apply_hypothesis(picture: Colours, hypothesis: Hypothesis) -> Segmentation:
    """The contrast of a picture's ink under a hypothesis."""
    light = 255 - picture if hypothesis.inverted else picture
    sheet = find_sheet(picture) if hypothesis.on_sheet else None
    if sheet is None:
        sheet = np.ones(picture.shape[:2], bool)
    else:
        light = light.copy()
        light[~sheet] = np.median(light[sheet], axis=0)
    contrast = ink_contrast(light, hypothesis.stroke_reach)
    if hypothesis.stroke_reach is not None:
        contrast = remove_printed_lines(remove_frames(contrast))
    contrast[~sheet] = 0
    inner = cv2.erode(np.pad(sheet, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return Segmentation(contrast, light, sheet & (inner == 0))


def remove_frames(contrast: Contrast) -> Contrast:
    """The contrast without the printed boxes of a form."""
    mask = find_ink(contrast)
    frames = frame_mask(mask)
    if not frames.any():
        return contrast
    near = cv2.dilate(frames.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(near & ~(mask & ~frames), np.minimum(contrast, 0), contrast)
