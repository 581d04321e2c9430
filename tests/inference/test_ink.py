"""Which shapes are ink, and which are only the outline or the edge of something else."""

import cv2
import numpy as np
import pytest

from tiny_mnist.inference.ink import remove_edges, remove_outlines, remove_steps
from tiny_mnist.inference.paper import erase_lines


def draw(radius: int, thickness: int) -> np.ndarray:
    """A circle of ink, or a filled one."""
    mask = np.zeros((400, 400), np.uint8)
    cv2.circle(mask, (200, 200), radius, 1, thickness)
    return mask > 0


def picture(dark: np.ndarray) -> np.ndarray:
    """Dark pixels on paper."""
    grey = np.where(dark, 60, 220).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_a_ring_on_paper_stays() -> None:
    ring = draw(80, 10)
    assert (remove_outlines(ring, picture(ring)) == ring).all()


@pytest.mark.parametrize(
    ("paper_colour", "ink_colour"),
    [
        ((150, 150, 150), (0, 255, 0)),  # in grey, they are as bright
        ((255, 255, 0), (0, 0, 0)),  # one colour is 0 in both
        ((255, 0, 0), (0, 0, 0)),
    ],
)
def test_a_ring_on_coloured_paper_stays(
    paper_colour: tuple[int, int, int], ink_colour: tuple[int, int, int]
) -> None:
    ring = draw(80, 10)
    paper = np.full((400, 400, 3), paper_colour, np.uint8)
    paper[ring] = ink_colour
    assert (remove_outlines(ring, paper) == ring).all()


def test_the_edge_of_a_blot_is_filled() -> None:
    ring, blot = draw(80, 10), draw(85, -1)
    assert remove_outlines(ring, picture(blot)).sum() == pytest.approx(blot.sum(), rel=0.02)


def test_a_small_hole_is_filled_where_it_is_as_dark_and_does_not_remove_its_shape() -> None:
    ring, blot = draw(80, 100), draw(130, -1)
    assert remove_outlines(ring, picture(blot)).sum() == pytest.approx(blot.sum(), rel=0.02)
    bright_hole = picture(draw(190, -1) & ~draw(30, -1))  # the shape is as dark as what is around
    assert (remove_outlines(ring, bright_hole) == ring).all()


def test_the_edge_of_a_bright_sheet_goes_and_what_is_written_on_it_stays() -> None:
    ring, written = draw(80, 10), draw(20, -1)
    dark = ~draw(75, -1) | written
    assert (remove_outlines(ring | written, picture(dark)) == written).all()


def draw_bar(left: int, right: int, tilt: int = 0) -> np.ndarray:
    """An upright bar of ink between two columns, or one that leans to the right."""
    mask = np.zeros((400, 400), np.uint8)
    corners = [(left + tilt, 50), (right + tilt, 50), (right, 350), (left, 350)]
    cv2.fillConvexPoly(mask, np.array(corners, np.int32), 1)
    return mask > 0


@pytest.mark.parametrize("tilt", [-120, 0, 120])
def test_a_bar_beside_a_step_of_the_brightness_goes(tilt: int) -> None:
    bar, dark = draw_bar(200, 220, tilt), draw_bar(200, 390, tilt)
    assert not remove_steps(bar, picture(dark)).any()
    bar, dark = draw_bar(200, 220, tilt), draw_bar(20, 220, tilt)
    assert not remove_steps(bar, picture(dark)).any()


@pytest.mark.parametrize("tilt", [-120, 0, 120])
@pytest.mark.parametrize("shadow", [1.0, 0.5, 0.35, 0.25])
def test_a_bar_on_paper_or_at_the_end_of_a_shadow_stays(tilt: int, shadow: float) -> None:
    bar = draw_bar(200, 220, tilt)
    shaded = picture(bar).astype(float)
    shaded[draw_bar(210, 390, tilt)] *= shadow
    assert (remove_steps(bar, shaded.astype(np.uint8)) == bar).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [slice(50, 350), slice(53, 344), slice(7, 62)])
def test_a_line_of_one_pixel_stays(rows: slice) -> None:
    line = np.zeros((400, 400), bool)
    line[rows, 300] = True
    assert (remove_steps(line, picture(line)) == line).all()
    assert (remove_steps(line.T, picture(line.T)) == line.T).all()


@pytest.mark.parametrize("thickness", [3, 8])
def test_a_bar_beside_the_line_of_a_cell_stays(thickness: int) -> None:
    """The line was removed from the ink before; it is still dark in the picture."""
    bar, line = draw_bar(200, 210), draw_bar(214, 214 + thickness)
    assert (remove_steps(bar, picture(bar | line)) == bar).all()


def test_only_a_bar_is_taken_for_the_strip_beside_a_step() -> None:
    blot, dark = draw_bar(200, 380), draw_bar(200, 399)
    assert (remove_steps(blot, picture(dark)) == blot).all()


def test_the_ends_of_a_bar_may_be_dark() -> None:
    """As where a 1 stands on a thick line."""
    bar = draw_bar(200, 220)
    dark = bar.copy()
    dark[354:] = dark[:46] = True
    assert (remove_steps(bar, picture(dark)) == bar).all()


def test_outlines_and_steps_are_both_edges() -> None:
    assert not remove_edges(draw(80, 10), picture(~draw(75, -1))).any()
    assert not remove_edges(draw_bar(200, 220), picture(draw_bar(200, 390))).any()


def test_a_bar_beside_other_ink_or_at_the_border_stays() -> None:
    bar, near = draw_bar(200, 220), draw_bar(221, 390)
    near[:, :222] = False
    both = bar | near
    assert (remove_steps(both, picture(both)) == both).all()
    at_border = draw_bar(0, 20)
    assert (remove_steps(at_border, picture(at_border)) == at_border).all()


@pytest.mark.filterwarnings("error")
def test_a_printed_line_that_rounding_puts_outside_the_picture_erases_nothing() -> None:
    contrast = np.random.default_rng(0).random((60, 80), np.float32)
    assert (erase_lines(contrast, [((0, 60), (79, 60))]) == contrast).all()
