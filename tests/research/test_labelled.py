"""What a found piece shows: the digit that was written, and nothing else, is labelled as it."""

from functools import partial

import numpy as np
import pytest
from research.pictures import labelled
from research.pictures.labelled import find_label, find_scene_pieces
from research.pictures.samples import SCENE_NAMES, sample_picture
from research.pictures.scenes import SCENES, Scene, photo, scan
from research.pictures.strokes import strokes

from tiny_mnist.inference.segmentation.division import OTHER
from tiny_mnist.inference.segmentation.reading import score_masks


@pytest.mark.parametrize("scene", [scan, partial(photo, lines="squared")])
def test_the_digit_of_a_picture_is_labelled_and_its_surroundings_are_not(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    monkeypatch.setattr(labelled, "HYPOTHESES", 20)  # all of a picture
    rng = np.random.default_rng(5)
    read, others = [], 0
    for digit in (2, 3, 5, 6, 9):
        pieces = list(find_scene_pieces(scene, strokes, digit, rng))
        assert {label for _, label in pieces} <= {digit, OTHER, -1}
        masks = [mask for mask, label in pieces if label == digit]
        assert masks
        read += [int(scores.argmax()) == digit for scores in score_masks(masks)]
        others += sum(label == OTHER for _, label in pieces)
    assert np.mean(read) > 0.8
    assert others > len(read)


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_a_scene_without_ink_has_the_size_of_one_with_ink(name: str) -> None:
    ink = np.full((80, 50), 255, np.uint8)
    sizes = {
        SCENES[name](lambda width, ink=part: ink, np.random.default_rng(0)).size
        for part in (ink, 0 * ink)
    }
    assert len(sizes) == 1


def test_a_part_of_a_digit_and_a_mixture_are_other() -> None:
    digit = np.zeros((10, 10), bool)
    digit[:, :4] = True
    digits = np.array([7])

    def label(rows: int, columns: int) -> int:
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        return find_label(y, x, [digit], [digit], digits)[0]

    assert label(10, 4) == 7
    assert label(8, 4) == -1  # most of the digit
    assert label(5, 4) == OTHER  # half of it
    assert label(10, 8) == OTHER  # half of what is there


def test_a_straight_one_is_a_digit_and_no_bar_is_anything_else() -> None:
    rng = np.random.default_rng(6)
    shape = partial(lambda digit, width, rng: np.full((100, 12), 255, np.uint8))
    samples = [one for _ in range(6) for one in sample_picture(shape, [], rng)]
    assert any(label < OTHER and mask.shape[0] > 3 * mask.shape[1] for mask, label in samples)
    others = [mask.shape for mask, label in samples if label == OTHER]
    assert others
    assert all(columns > 0.5 * rows for rows, columns in others)
