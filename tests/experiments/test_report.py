"""The report page: everything on it, nothing outside it, and sentences that match the numbers."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from experiments.report import drawing, figures_faces, figures_light, figures_privacy, write_report
from experiments.report.record import RunRecord, read_run
from experiments.report.tables import comparison, counts
from experiments.report.verdict import better_baselines, headline, strongest_attack, verdict
from experiments.store import ArtifactError
from tests.experiments.fake_run import evidence, metrics, write_fake_run

SMALL = {"people": 2, "size": 48, "cells": 60, "window": 24, "cameras": 3, "distances": 2}
SECTIONS = (
    *("people", "comparison", "trade-off", "distance", "inversion"),
    *("mask", "psf", "training", "data", "settings"),
)


class Page(HTMLParser):
    """Collects ids, visible text and whatever an attribute would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self._hidden = 0
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self._hidden += tag in ("style", "script")
        if identity := found.get("id"):
            self.ids.append(identity)
        self.loaded += [v for k, v in attrs if k in ("src", "srcset", "href") and v]
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_fake_run(tmp_path_factory.mktemp("runs") / "codesign" / "now", terms=3, **SMALL)
    write_report(folder, dpi=40)
    return folder


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bare_html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that stored nothing but two numbers, one of them not a number."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "metrics.json").write_text('{"landmark_nme": NaN, "exposure_e": null}')
    return write_report(folder, dpi=40).read_text(encoding="utf-8")


def record(**changes: float | None) -> RunRecord:
    """Return the plausible run with some numbers changed; None removes one."""
    numbers = metrics() | {key: value for key, value in changes.items() if value is not None}
    return RunRecord(
        "now", "codesign", {k: v for k, v in numbers.items() if changes.get(k, v) is not None}
    )


# The page


def test_page_has_every_section_once(html: str) -> None:
    ids = Page(html).ids
    assert [ids.count(name) for name in SECTIONS] == [1] * len(SECTIONS)


def test_page_has_every_figure_with_alt_text(html: str) -> None:
    page = Page(html)
    figures = {name.removeprefix("figure-") for name in page.ids if name.startswith("figure-")}
    assert figures == {
        *("people", "cameras", "privacy_utility", "mtf", "distance_privacy", "distance_utility"),
        *("inversion_1", "inversion_100", "mask", "mask_centre", "mask_profile"),
        *("psf", "psf_cameras", "training", "attackers", "contact_sheet"),
    }
    assert all(len(image["alt"] or "") > 20 for image in page.images)


def test_figures_are_also_files(run: Path, html: str) -> None:
    stored = {path.stem for path in (run / "figures").glob("*.png")}
    assert stored == {i.removeprefix("figure-") for i in Page(html).ids if i.startswith("figure-")}
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (run / "figures").glob("*.png"))


def test_page_loads_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    assert all(re.match(r"(data:|#)", link) for link in page.loaded)
    assert not {"script", "link"} & set(page.tags) - {"link"}  # the one link is the empty icon
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("page", ["html", "bare_html"])
def test_no_missing_value_is_shown_as_such(page: str, request: pytest.FixtureRequest) -> None:
    text = Page(request.getfixturevalue(page)).text
    assert not re.search(r"\b(nan|None|null|inf|undefined)\b", text, re.IGNORECASE)


def test_forbidden_words_do_not_occur(html: str) -> None:
    assert not re.search(r"irreversibl|anonymous", Page(html).text, re.IGNORECASE)


def test_bare_run_says_what_is_missing_in_every_section(bare_html: str) -> None:
    page = Page(bare_html)
    assert [page.ids.count(name) for name in SECTIONS] == [1] * len(SECTIONS)
    for sentence in (
        "No attack was run on this mask",
        "stored no example pictures",
        "stored no mask height",
        "stored no PSFs",
        "stored no MTF",
        "No curves of the training",
        "No contact sheet",
        "No composed settings",
        "No baseline camera was measured",
    ):
        assert sentence in page.text


def test_hostile_names_are_text_and_not_markup(tmp_path: Path) -> None:
    hostile = "</pre><script>alert(1)</script>\"'"
    (tmp_path / "config.json").write_text(json.dumps({"data": {"name": hostile}}))
    record = {"overrides": ["data=" + hostile], "versions": {hostile: hostile}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "metrics.json").write_text(json.dumps({"n_people_test": 3, f"{hostile}/x": 1.0}))
    (tmp_path / "data.json").write_text(
        json.dumps({"refused": [{"file": f"d/{hostile}", "reason": hostile}]})
    )
    html = write_report(tmp_path, dpi=40).read_text(encoding="utf-8")
    assert "script" not in Page(html).tags
    assert "alert(1)" in Page(html).text


def test_only_names_inside_the_run_are_shown(run: Path, html: str) -> None:
    assert str(run.parent.parent) not in html


def test_second_report_replaces_the_first_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    write_report(tmp_path, dpi=40)
    (tmp_path / "metrics.json").write_text('{"landmark_nme": 0.0512}')
    assert "5.1 %" in write_report(tmp_path, dpi=40).read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} <= {"metrics.json", "report.html", "figures"}


def test_run_without_metrics_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no metrics\.json.*finish the job"):
        write_report(tmp_path)


def test_resolution_out_of_range_is_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="dpi = 1000, expected 40 to 400"):
        write_report(run, dpi=1000)


@pytest.mark.parametrize("name", ["evidence.npz", "metrics.json", "trade_off.json"])
def test_damaged_file_is_reported_by_its_name(run: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=name):
        read_run(copy)


@pytest.mark.slow
def test_full_size_page_is_under_6_megabytes(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", people=8, size=256, cells=1250, window=128)
    assert write_report(folder).stat().st_size < 6e6


def test_command_and_data_are_those_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"data": {"root": ["pictures/lfw", "frll"]}}')
    (tmp_path / "run.json").write_text('{"job": "codesign", "overrides": ["mask.cell=8 um"]}')
    (tmp_path / "metrics.json").write_text("{}")
    text = Page(write_report(tmp_path, dpi=40).read_text(encoding="utf-8")).text
    assert "./lab codesign 'mask.cell=8 um'" in text
    assert read_run(tmp_path).data_name == "lfw and frll"


# Sentences and numbers


def test_strongest_attack_speaks_for_the_camera() -> None:
    assert strongest_attack(record())[0] == "reid_auc_inverted_100"
    assert strongest_attack(record(reid_auc_retrained=0.81))[1].value == 0.81


def test_verdict_names_attacker_data_counts_and_interval() -> None:
    text = verdict(record())[0]
    assert "inversion of the mean of 100 frames" in text
    assert "0.634 [0.599, 0.669], 95 % interval" in text
    assert "104 test people, 612 same-person pairs and 18,420 different-person pairs" in text


@pytest.mark.parametrize(
    ("auc", "low", "high", "words"),
    [
        (0.51, 0.48, 0.55, "do no better than guessing"),
        (0.56, 0.53, 0.59, "do little better than guessing"),
        (0.58, 0.45, 0.71, "Too few pairs to say"),
        (0.65, 0.61, 0.69, "learns something"),
        (0.80, 0.77, 0.83, "learns a good deal"),
        (0.97, 0.95, 0.99, "does not hide"),
        (0.52, float("nan"), float("nan"), "no verdict on privacy"),
    ],
)
def test_headline_follows_the_interval(auc: float, low: float, high: float, words: str) -> None:
    numbers = {"reid_auc_retrained": auc}
    numbers |= {"reid_auc_retrained_lo": low, "reid_auc_retrained_hi": high}
    assert words in headline(RunRecord("now", "codesign", numbers))


def test_baseline_that_dominates_is_named_with_both_numbers() -> None:
    changes = {"defocused/landmark_nme": 0.055, "defocused/reid_auc_retrained": 0.512}
    changes |= {"defocused/reid_auc_retrained_lo": 0.49, "defocused/reid_auc_retrained_hi": 0.53}
    better = better_baselines(record(**changes))
    assert [item.camera for item in better] == ["defocused"]
    text = " ".join(verdict(record(**changes)))
    assert "The defocused lens is both more private and more useful" in text
    assert "0.512 [0.490, 0.530] against 0.588" in text
    assert "5.5 % against 6.1 %" in text
    assert "not established" not in text


def test_dominating_baseline_with_overlapping_interval_is_not_called_established() -> None:
    changes = {"low_resolution/landmark_nme": 0.055, "low_resolution/reid_auc_retrained": 0.58}
    changes |= {"low_resolution/reid_auc_retrained_hi": 0.62}
    assert "not established" in " ".join(verdict(record(**changes)))


def test_baseline_that_only_wins_under_the_strongest_attack_is_named() -> None:
    """Low resolution has the lower AUC after inversion; here it is made the more useful, too."""
    (item,) = better_baselines(
        record(
            **{
                "low_resolution/landmark_nme": 0.05,
                "low_resolution/reid_auc_inverted_1": 0.6,
                "low_resolution/reid_auc_retrained": 0.61,
            }
        )
    )
    assert (item.camera, item.judge) == ("low_resolution", "strongest attack")


def test_baseline_that_is_more_private_but_less_useful_does_not_dominate() -> None:
    assert better_baselines(record(**{"defocused/reid_auc_retrained": 0.51})) == []


def test_no_dominating_baseline_is_said() -> None:
    assert "No baseline measured here is both more private and more useful." in verdict(record())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("psf_spread_face_widths", 0.04, "too small to hide a face"),
        ("psf_energy_inside", 0.71, "only 71 % of the light"),
        ("n_people_test", 12, "not evidence about faces at large"),
    ],
)
def test_reservation_is_made_when_the_number_calls_for_it(
    key: str, value: float, words: str
) -> None:
    assert words in " ".join(verdict(record(**{key: value})))
    assert words not in " ".join(verdict(record()))


def test_best_number_of_a_column_is_marked_wherever_it_is() -> None:
    titles, rows = comparison(record())
    best = {
        title: [row.name for row in rows if row.cells[i].best] for i, title in enumerate(titles)
    }
    assert best["Landmark error [%]"] == ["lens in focus"]
    assert best["AUC retrained"] == ["learned mask"]
    assert best["AUC inverted, 100 frames"] == ["low resolution"]
    assert best["PSF spread [faces]"] == []


def test_interval_with_the_exposure_before_or_after_the_limit_is_found() -> None:
    numbers = {"reid_auc_inverted_1_10ke": 0.6}
    for low, high in (("_10ke_lo", "_10ke_hi"), ("_lo_10ke", "_hi_10ke")):
        limits = {f"reid_auc_inverted_1{low}": 0.5, f"reid_auc_inverted_1{high}": 0.7}
        value = RunRecord("", "", numbers | limits).value("reid_auc_inverted_1_10ke")
        assert (value.low, value.high) == (0.5, 0.7)


def test_unknown_baseline_gets_a_row_and_its_own_colour() -> None:
    _, rows = comparison(record(**{"pinhole/landmark_nme": 0.2}))
    (row,) = [row for row in rows if row.name == "pinhole"]
    assert row.colour not in {other.colour for other in rows if other is not row}


def test_counts_come_from_data_and_metrics() -> None:
    run = RunRecord("", "", {"n_genuine": 612, "nme": 1.0}, data={"counts": {"pictures": 2104}})
    assert counts(run) == [("pictures", "2,104"), ("same-person pairs", "612")]


# Figures


def test_display_encoding_is_srgb() -> None:
    """Mid grey of IEC 61966-2-1: 0.2140 in linear light is 127.5 of 255, within one step."""
    shown = drawing.to_display(np.full((3, 2, 5), 0.2140))
    assert shown.shape == (2, 5, 3)
    assert abs(int(shown[0, 0, 0]) - 127.5) <= 1
    assert drawing.to_display(np.array([[[np.nan, -1.0, 2.0]]])).ravel().tolist() == [0, 0, 255]


@pytest.mark.parametrize(("limit", "length"), [(0.99, 0.5), (1.0, 1.0), (34.0, 20.0), (7e-3, 5e-3)])
def test_scale_bar_is_the_largest_round_length_that_fits(limit: float, length: float) -> None:
    assert drawing.nice_length(limit) == pytest.approx(length)


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawing.render(figures_privacy.scatter(record()).figure, 40)
    assert dict(matplotlib.rcParams) == before


def test_one_person_through_one_camera_is_drawn() -> None:
    few = evidence(**SMALL | {"people": 1})
    keep = {
        k: v[:1] if k in ("measurements", "heatmaps", "inversions_1") else v
        for k, v in few.items()
        if k in ("scenes", "measurements", "heatmaps", "inversions_1")
    }
    run = RunRecord("", "", {}, evidence=keep | {"camera_names": np.array(["learned"])})
    strip = figures_faces.people_strip(run)
    assert [axes.get_title() for axes in strip.figure.axes] == [
        "scene",
        "measurement",
        "heatmap",
        "inverted,\n1 frame",
    ]
    assert isinstance(figures_faces.camera_strip(run), drawing.Missing)


def test_landmark_error_on_the_picture_is_relative_to_the_outer_eye_corners() -> None:
    true = np.zeros((68, 2))
    true[36], true[45] = (10, 20), (40, 60)  # 50 px apart
    assert figures_faces._error_text(true, true + np.array([3.0, 4.0])) == "10.0 %"


def test_mtf_caption_gives_the_frequency_beyond_which_detail_is_lost() -> None:
    cycles = np.arange(1.0, 11.0)
    mtf = np.where(cycles < 7, 0.1, 1e-4)
    mtf[2] = 1e-5  # a notch below the floor is not yet the end of the band
    run = RunRecord(
        "",
        "",
        {},
        evidence={
            "camera_names": np.array(["learned"]),
            "mtf_cycles": cycles,
            "mtf": mtf[None],
            "noise_floor_1": np.full(10, 1e-3),
            "noise_floor_100": np.full(10, 5e-5),
        },
    )
    caption = figures_light.mtf_chart(run).caption
    assert "beyond 7 cycles with 1 frame" in caption
    assert "not for good within 10 cycles with 100 frames" in caption


def test_flat_mask_and_dark_psf_are_drawn() -> None:
    run = RunRecord(
        "",
        "",
        {},
        evidence={
            "mask_height": np.zeros((12, 20)),
            "mask_cell": np.float64(8e-6),
            "psf": np.zeros((2, 3, 8, 10)),
            "psf_distances": np.array([1.0, 3.0]),
        },
    )
    for draw in (figures_light.mask_map, figures_light.mask_profile, figures_light.psf_grid):
        assert drawing.render(draw(run).figure, 40).width > 0


def test_face_of_the_psf_figure_shrinks_with_distance() -> None:
    """At twice the distance a face covers half as many pixels: the same bar is twice as many."""
    run = RunRecord(
        "",
        "",
        {},
        evidence={
            "psf": np.ones((2, 3, 40, 48)),
            "psf_distances": np.array([1.5, 3.0]),
            "psf_face_width_px": np.float64(28.0),
        },
    )
    figure = figures_light.psf_grid(run).figure
    widths = [axes.patches[0].get_width() for axes in figure.axes[:2]]
    assert widths == [28.0, 14.0]
