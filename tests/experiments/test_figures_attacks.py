"""The curves of attacks against shots and light."""

import numpy as np

from experiments.report.drawing import Drawing, Missing
from experiments.report.figures_attacks import success_curves


def condition(frames, exposure, auc):
    return {
        "auc": auc, "auc_lo": auc - 0.1, "auc_hi": auc + 0.05, "frames": frames,
        "exposure_e": exposure,
    }  # fmt: skip


def conditions(knowledge, first):
    return {
        f"{knowledge}_frames_{n}{light}": condition(n, exposure, first + 0.1 * i)
        for light, exposure in (("", 3e5), ("_1ke", 1e3))
        for i, n in enumerate((1, 16, 100))
    }


def test_each_exposure_is_a_panel_and_each_knowledge_a_line():
    moving = conditions("unknown_masks", 0.5) | conditions("known_masks", 0.6)
    drawn = success_curves({"still": conditions("exact", 0.7), "moving": moving})
    assert isinstance(drawn, Drawing)
    own, dim = drawn.figure.axes
    assert [axes.get_title() for axes in (own, dim)] == [
        "the camera's own light",
        "1 ke- per pixel",
    ]
    lines = [line for line in own.get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 3
    for line, first in zip(lines, (0.7, 0.5, 0.6), strict=True):
        assert list(line.get_xdata()) == [1, 16, 100]
        np.testing.assert_allclose(line.get_ydata(), [first, first + 0.1, first + 0.2])
    assert lines[1].get_color() == lines[2].get_color() != lines[0].get_color()


def test_one_number_of_shots_is_no_curve():
    one = {"exact_frames_1": condition(1, 1e3, 0.6), "search_16": {"auc": 0.5}}
    assert isinstance(success_curves({"still": one}), Missing)
    assert isinstance(success_curves({}), Missing)
