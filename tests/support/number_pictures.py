"""Small drawings of numbers, and what is read in them."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from tiny_mnist.inference.image_io import LoadedImage, to_rgb
from tiny_mnist.inference.predictor import ImagePrediction, predict_images, pretrained_network

STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "1": [[(0.3, 0), (0.3, 1)]],
    "2": [[(0, 0.25), (0.1, 0.06), (0.3, 0), (0.5, 0.08), (0.55, 0.28), (0, 1), (0.6, 1)]],
    "3": [[(0, 0.1), (0.3, 0), (0.52, 0.2), (0.2, 0.46), (0.55, 0.7), (0.3, 1), (0, 0.9)]],
    "4": [[(0.15, 0), (0, 0.6), (0.6, 0.6)], [(0.45, 0.25), (0.45, 1)]],
    "7": [[(0, 0), (0.55, 0), (0.2, 1)]],
}
"""In a box of height 1, y down. A 0 is an ellipse."""


def draw_number(
    text: str,
    gap: float = 0.25,
    slant: float = 0.0,
    heights: Sequence[float] = (),
    size: int = 80,
) -> np.ndarray:
    """White digits on black in one row.

    Args:
        text: digits of `STROKES`, and 0.
        gap: distance between neighbours, in heights.
        slant: columns to the right for one row up.
        heights: the height of each digit, standing on the same line, in heights; else 1.
        size: a height, in pixels.
    """
    canvas = np.zeros((2 * size, int((len(text) + 2) * size)), np.uint8)
    x = 0.6 * size
    for place, digit in enumerate(text):
        high = size * (heights[place] if heights else 1.0)
        top, width = 1.4 * size - high, 0.6 * high
        if digit == "1":
            x -= 0.3 * high
            width = 0.3 * high
        if digit == "0":
            angle = np.linspace(0, 2 * np.pi, 40)
            lines = [np.stack([0.3 + 0.3 * np.cos(angle), 0.5 + 0.5 * np.sin(angle)], 1)]
        else:
            lines = [np.array(line) for line in STROKES[digit]]
        for line in lines:
            y = top + line[:, 1] * high
            points = np.stack([x + line[:, 0] * high + slant * (1.4 * size - y), y], 1)
            cv2.polylines(canvas, [points.round().astype(np.int32)], False, 255, 8, cv2.LINE_AA)
        x += width + gap * size
    return canvas[:, : int(x + 0.8 * size)]


def read(ink: np.ndarray) -> ImagePrediction:
    """What is read in a scan of white ink on black."""
    noise = np.random.default_rng(0).normal(0, 2, ink.shape)
    return predict(Image.fromarray((240 - 0.8 * ink + noise).clip(0, 255).astype(np.uint8)))


def predict(picture: Image.Image) -> ImagePrediction:
    """What is read in a picture by the network that comes with the package."""
    sources = [("picture", lambda: LoadedImage(to_rgb(picture)))]
    (prediction,) = predict_images(sources, pretrained_network())
    return prediction
