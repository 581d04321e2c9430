"""Which pixels of a picture are ink."""

import cv2
import numpy as np

from tiny_mnist.inference.image_io import RGBImage
from tiny_mnist.inference.paper import (
    MIN_CONTRAST,
    Contrast,
    Mask,
    estimate_background,
    robust_deviation,
)

MAX_NOISE = 0.04  # contrast: the noise counts as no more; ink may cover half of the picture


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
    loss = (background - picture) / np.maximum(background, 40)
    if stroke_reach is not None:
        loss -= np.median(loss[::3, ::3].reshape(-1, 3), axis=0)
    strength = np.linalg.norm(loss, axis=2)
    strongest = loss[strength >= np.quantile(strength[::2, ::2], 0.998)].mean(axis=0)
    direction = strongest / max(float(np.linalg.norm(strongest)), 1e-6)
    return np.asarray(loss @ direction / np.sqrt(3), np.float32)


def find_ink(contrast: Contrast, extent: float = 0.65) -> Mask:
    """The pixels of ink, by two thresholds.

    A connected region is ink if some of it is above Otsu's threshold; it extends to the pixels
    above `extent` of it. Both thresholds are well above the background's noise.
    """
    noise = min(MAX_NOISE, robust_deviation(contrast))
    candidates = contrast[contrast > max(MIN_CONTRAST, 5 * noise)]
    if candidates.size < 12:
        return np.zeros(contrast.shape, bool)
    levels = (candidates.clip(0, 1) * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu / 255, MIN_CONTRAST)
    weak = contrast > max(extent * threshold, 3 * noise)
    _, labels = cv2.connectedComponents(weak.astype(np.uint8))
    strong = np.zeros(labels.max() + 1, bool)
    strong[labels[contrast > threshold]] = True
    strong[0] = False
    return np.asarray(strong[labels], bool)
