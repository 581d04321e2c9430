"""Pictures of digits, and `tiny-mnist predict` on them."""

import cv2
import numpy as np
from typer.testing import CliRunner

from tiny_mnist.cli import app


def draw_ink(side: int = 200, width: int = 16, text: str = "7", offset: int = 0) -> np.ndarray:
    """White on black: a 7, or a 0."""
    canvas = np.zeros((side, side), np.uint8)
    unit = side / 200
    if text == "7":
        points = np.array([[60, 50], [135, 50], [90, 155]]) * unit + offset
        cv2.polylines(canvas, [points.astype(np.int32)], False, 255, width, cv2.LINE_AA)
    else:
        centre, axes = (side // 2 + offset, side // 2), (int(35 * unit), int(55 * unit))
        cv2.ellipse(canvas, centre, axes, 10, 0, 360, 255, width, cv2.LINE_AA)
    return canvas


def run_predict(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    """Status, output and errors of `tiny-mnist predict …`."""
    result = CliRunner().invoke(app, ["predict", *arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
