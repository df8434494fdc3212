"""The gallery: every script keeps its closed forms, draws a legible figure and stays short."""

import json
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from experiments import gallery
from experiments.gallery import Check, Result, names, picture, script
from experiments.gallery.__main__ import command
from experiments.report.drawing import render

ROOT = Path(__file__).parents[2]
FOLDER = Path(gallery.__file__).parent

computed = cache(lambda name: script(name).compute())  # each is computed once for all tests


def test_all_concepts_are_there():
    assert set(names()) >= {
        "airy", "chromatic_shift", "cubic_mask", "deformable_mirror", "lensless", "multilevel",
        "poisson_spot", "talbot", "zone_plate",
    }  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_computed_numbers_keep_their_bars(name):
    result = computed(name)
    for check in result.checks:
        assert check.error <= check.bar, check
    assert result.ok
    assert result.error <= result.bar


@pytest.mark.parametrize("name", names())
def test_figure_has_titles_labels_and_curves_that_are_finite(name):
    figure = picture(script(name), computed(name))
    charts = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert charts
    for axes in charts:
        assert axes.get_title()
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.lines or axes.images or axes.patches
    assert all(array.isfinite().all() for array in computed(name).arrays.values())


@pytest.mark.parametrize("name", names())
def test_no_text_leaves_the_figure_or_lies_on_other_text(name):
    figure = picture(script(name), computed(name))
    render(figure, 80)
    box = figure.bbox.padded(1)
    for axes in figure.axes:
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
        legend = axes.get_legend()
        frames = [text.get_window_extent() for text in texts if text.get_text()]
        if legend is not None:
            frames.append(legend.get_window_extent())
        for frame in frames:
            assert box.contains(frame.x0, frame.y0), (name, frame)
            assert box.contains(frame.x1, frame.y1), (name, frame)
        for i, frame in enumerate(frames):
            assert not any(frame.overlaps(other) for other in frames[:i]), name


@pytest.mark.parametrize("name", names())
def test_script_can_be_read_in_one_go(name):
    lines = (FOLDER / f"{name}.py").read_text("utf-8").splitlines()
    code = [line for line in lines[lines.index('"""', 1) + 1 :] if line.strip()]
    assert 20 <= len(code) <= 60
    assert len(lines) <= 75
    assert f"    python -m experiments.gallery.{name}    " in "\n".join(lines)


def test_error_and_bar_are_those_of_the_worst_check():
    near, far = Check("a", 1.0001, 1.0, 1e-2), Check("b", 2.002, 2.0, 1e-5)
    result = Result((near, far), {})
    assert result.worst is far
    assert result.error == pytest.approx(1e-3)
    assert not result.ok
    assert Result((near,), {}).ok


def test_unknown_script_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"what = moon: .* airy, "):
        script("moon")


def run(monkeypatch, folder, *words):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        command(words)
    return end.value.code


def test_job_writes_numbers_and_a_page(monkeypatch, tmp_path):
    assert not run(monkeypatch, tmp_path, "zone_plate")
    folder = tmp_path / "runs/gallery/latest"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"zone_plate/error", "zone_plate/bar", "zone_plate/ok"}
    assert metrics["zone_plate/ok"] is True
    assert (folder / "figures/zone_plate.png").stat().st_size > 10_000
    page = (folder / "report.html").read_text()
    assert "first order / ideal lens" in page
    assert 'src="data:image/png' in page
    assert 'src="http' not in page


def test_job_fails_where_a_closed_form_is_missed(monkeypatch, tmp_path):
    result = computed("zone_plate")
    wrong = Result((Check("peak", 1.0, 2.0, 0.1),), result.arrays)
    monkeypatch.setattr(script("zone_plate"), "compute", lambda: wrong)
    assert run(monkeypatch, tmp_path, "zone_plate") == 1
    metrics = json.loads((tmp_path / "runs/gallery/latest/metrics.json").read_text())
    assert metrics["zone_plate/ok"] is False


def test_job_refuses_an_unknown_script_before_it_writes(monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, "moon") == 2
    assert not (tmp_path / "runs").exists()


def test_script_alone_saves_its_figure_and_tells_its_numbers(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / "multilevel.py"), run_name="__main__")
    assert not end.value.code
    assert "order 1, 2 levels: 0.405285" in capsys.readouterr().out
    assert (tmp_path / "runs/gallery/multilevel.png").exists()


def test_lab_lists_the_gallery():
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab"), "help"], capture_output=True, text=True, check=True
    )
    assert "  gallery      Draw the gallery" in done.stdout
