"""Read a row of digits as a whole, without dividing it.

The row reader is a convolutional network that sees a strip with all ink of a row. It was trained
with connectionist temporal classification (CTC; A. Graves and others, *Connectionist temporal
classification: labelling unsegmented sequence data with recurrent neural networks*, 2006): for each
column it gives the probabilities of the ten digits and of a blank, and a text is as probable as all
sequences together that become the text once repetitions and blanks are left out.
"""

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from tiny_mnist.inference import pretrained
from tiny_mnist.inference.segmentation.components import Labels, Row, union_box

if TYPE_CHECKING:
    import onnxruntime

STRIP_HEIGHT = 32  # pixels
DIGIT_HEIGHT = 22  # pixels: height of the row's digits in the strip
MARGIN = 4  # pixels: empty columns at either end
STRIDE = 4  # pixels: the strip's width is a multiple of this
BLANK = 10  # the row reader's class between two digits

Strip = UInt8[ndarray, "32 stripwidth"]
"""The ink of a row, light on black."""


def draw_strip(labels: Labels, row: Row) -> Strip:
    """All ink of a row, its digits `DIGIT_HEIGHT` pixels high."""
    parts = [part for item in row.parts for part in item]
    box = union_box(parts)
    inside = labels[box.top : box.bottom, box.left : box.right]
    ink = np.isin(inside, [part.label for part in parts]).astype(np.float32)
    scale = min(DIGIT_HEIGHT / row.height, (STRIP_HEIGHT - 2) / box.height)
    width, height = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(ink, (width, height), interpolation=interpolation)
    strip = np.zeros((STRIP_HEIGHT, -(-(width + 2 * MARGIN) // STRIDE) * STRIDE), np.uint8)
    top = (STRIP_HEIGHT - height) // 2
    strip[top : top + height, MARGIN : MARGIN + width] = (small * 255).round()
    return strip


def read_strip(strip: Strip) -> Float[ndarray, "columns 11"]:
    """Log-probabilities of the ten digits and of a blank, for every second column of a strip."""
    session = load_row_reader()
    (log_probs,) = session.run(None, {session.get_inputs()[0].name: strip[None]})
    return np.asarray(log_probs[0], np.float64)


def decode_text(log_probs: Float[ndarray, "columns 11"]) -> list[int]:
    """The digits of the likeliest sequence of classes."""
    classes = log_probs.argmax(axis=1)
    changed = np.diff(classes, prepend=BLANK) != 0
    return [int(digit) for digit in classes[changed] if digit != BLANK]


def text_log_probs(
    log_probs: Float[ndarray, "columns 11"], texts: Int[ndarray, "texts digits"]
) -> Float[ndarray, " texts"]:
    """Log-probability of each text, all of one length, by the forward algorithm of CTC.

    Args:
        log_probs: of each column.
        texts: may have no digits.
    """
    count, length = texts.shape
    states = np.full((count, 2 * length + 1), BLANK)
    states[:, 1::2] = texts
    # A state is reached from itself, the one before, and, past a blank, from another digit.
    past_blank = np.zeros(states.shape, bool)
    past_blank[:, 3::2] = texts[:, 1:] != texts[:, :-1]
    forward = np.full(states.shape, -np.inf)
    forward[:, :2] = log_probs[0][states[:, :2]]
    for column in log_probs[1:]:
        reached = forward.copy()
        reached[:, 1:] = np.logaddexp(reached[:, 1:], forward[:, :-1])
        skipped = np.where(past_blank[:, 2:], forward[:, :-2], -np.inf)
        reached[:, 2:] = np.logaddexp(reached[:, 2:], skipped)
        forward = reached + column[states]
    return np.asarray(np.logaddexp.reduce(forward[:, -2:], axis=1), np.float64)


@cache
def load_row_reader() -> "onnxruntime.InferenceSession":
    """The network that reads rows."""
    return pretrained.open_session(pretrained.ROW_READER)
