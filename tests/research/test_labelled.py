"""What a found piece shows: the digit that was written, and nothing else, is labelled as it."""

from functools import partial

import numpy as np
import pytest
from research.pictures.labelled import OTHER, find_scene_pieces
from research.pictures.scenes import photo, scan
from research.pictures.strokes import strokes

from tiny_mnist.inference.segmentation.reading import score_masks


@pytest.mark.parametrize("scene", [scan, partial(photo, lines="squared")])
def test_the_digit_of_a_picture_is_labelled_and_its_surroundings_are_not(scene) -> None:
    rng = np.random.default_rng(5)
    read, others = [], 0
    for digit in (2, 3, 5, 6, 9):
        pieces = list(find_scene_pieces(scene, strokes, digit, rng))
        assert {label for _, label in pieces} <= {digit, OTHER, -1}
        masks = [mask for mask, label in pieces if label == digit]
        read += [int(scores.argmax()) == digit for scores in score_masks(masks)]
        others += sum(label == OTHER for _, label in pieces)
    assert len(read) >= 5
    assert np.mean(read) > 0.8
    assert others > len(read)
