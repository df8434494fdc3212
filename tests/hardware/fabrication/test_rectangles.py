"""Rectangles cover the cells that are set, each once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardware.fabrication.rectangles import count_rectangles, fill, rectangles

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 12))


def painted(boxes, shape):
    """Count of rectangles over each cell, one after the other."""
    count = np.zeros(shape, int)
    for top, bottom, left, right in boxes:
        assert top < bottom
        assert left < right
        count[top:bottom, left:right] += 1
    return count


@given(arrays(bool, SHAPES))
@settings(max_examples=150, deadline=None)
def test_every_set_cell_is_covered_once_and_no_other(cells):
    boxes = rectangles(cells)
    np.testing.assert_array_equal(painted(boxes, cells.shape), cells.astype(int))
    assert count_rectangles(cells) == len(boxes)
    np.testing.assert_array_equal(fill(boxes, cells.shape), cells)


@given(arrays(bool, SHAPES))
@settings(max_examples=100, deadline=None)
def test_no_two_rectangles_could_be_one_by_stacking(cells):
    boxes = {tuple(box) for box in rectangles(cells).tolist()}
    for _, bottom, left, right in boxes:
        below = [b for b in boxes if b[0] == bottom and b[2:] == (left, right)]
        assert not below


def test_equal_runs_of_neighbouring_rows_are_one_rectangle_and_equal_columns_apart_are_two():
    cells = np.zeros((7, 5), dtype=bool)
    cells[1:3, 1:4] = cells[5:7, 1:4] = True
    assert rectangles(cells).tolist() == [[1, 3, 1, 4], [5, 7, 1, 4]]


def test_a_run_to_the_right_edge_does_not_join_the_left_edge_of_the_next_row():
    cells = np.array([[False, True], [True, False]])
    assert sorted(rectangles(cells).tolist()) == [[0, 1, 1, 2], [1, 2, 0, 1]]


@pytest.mark.parametrize(("value", "wanted"), [(True, [[0, 3, 0, 4]]), (False, [])])
def test_full_and_empty_maps(value, wanted):
    assert rectangles(np.full((3, 4), value)).tolist() == wanted


def test_overlapping_rectangles_are_counted_twice():
    boxes = np.array([[0, 2, 0, 3], [1, 4, 2, 5]])
    np.testing.assert_array_equal(fill(boxes, (4, 5)), painted(boxes, (4, 5)))
