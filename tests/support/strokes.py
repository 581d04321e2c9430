"""Digits drawn with the mouse on a page, or pasted into it."""

from typing import Any

import numpy as np

turn = np.linspace(0, 1, 40)
STROKES = {
    0: [np.column_stack([0.5 + 0.2 * np.sin(6.5 * turn), 0.5 - 0.32 * np.cos(6.5 * turn)])],
    1: [np.column_stack([0.52 - 0.04 * turn, 0.18 + 0.64 * turn])],
    3: [
        np.column_stack(
            [
                np.r_[0.48 - 0.17 * np.cos(3.6 * turn + 0.5), 0.48 + 0.2 * np.sin(3.7 * turn)],
                np.r_[0.34 - 0.16 * np.sin(3.6 * turn + 0.1), 0.66 - 0.18 * np.cos(3.7 * turn)],
            ]
        )
    ],
    4: [np.array([[0.4, 0.2], [0.3, 0.55], [0.7, 0.55]]), np.array([[0.6, 0.35], [0.57, 0.85]])],
    7: [np.array([[0.3, 0.22], [0.68, 0.22], [0.45, 0.8]])],
}
"""How a hand draws some digits, as parts of the pad from its top left corner."""


def draw(page: Any, strokes: list[np.ndarray], width: float = 1, left: float = 0) -> None:
    """Draw with the mouse on a clear pad; width and left are parts of the pad's width."""
    box = page.locator("canvas").first.bounding_box()
    for stroke in strokes:
        points = [
            (box["x"] + (left + width * x) * box["width"], box["y"] + y * box["height"])
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=5)
        page.mouse.up()


def paste_zero(page: Any) -> None:
    """Paste a picture of a 0, as from the clipboard."""
    page.evaluate(
        """async () => {
            const pad = new OffscreenCanvas(300, 300), ink = pad.getContext("2d");
            ink.fillStyle = "white"; ink.fillRect(0, 0, 300, 300);
            ink.lineWidth = 14; ink.ellipse(150, 150, 50, 80, 0, 0, 7); ink.stroke();
            const data = new DataTransfer();
            data.items.add(new File([await pad.convertToBlob()], "0.png"));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }"""
    )
