"""Comparisons of contestants whose worth is known: numbers, cache, interruptions, failures."""

import csv
import json
import shutil

import pytest

from experiments.attacks import OffTheShelf
from experiments.attacks.trial import Attack
from experiments.comparison.cells import Cache
from experiments.comparison.crew import CellsFailed
from experiments.comparison.methods import JOURNAL, finish, plan
from experiments.comparison.table import NOT_RUN, as_tex, make_rows
from experiments.contestants.contestant import digest
from experiments.report.figures_comparison import pareto
from experiments.stages import Schedule
from experiments.store import ArtifactError, read_json, read_jsonl
from experiments.utility import Landmarks
from tests.experiments.attacks.planted import QuickFromScratch
from tests.experiments.comparison.planted_bench import SCRATCH, bench
from tests.experiments.tiny_codesign import tiny_regressor

BRIEF = QuickFromScratch(Schedule(steps=4, batch=8, learning_rate=1e-2), points=1)


@pytest.fixture(autouse=True)
def plain_page(monkeypatch):
    """Leave the figures to one test: they take longer than all cells together."""
    monkeypatch.setattr("experiments.comparison.methods.write_sheet", lambda run, page: None)
    monkeypatch.setattr("experiments.comparison.methods.write_pdf", lambda item, folder: None)


def compared(where, run):
    run.mkdir(parents=True)
    finish(where, run)
    return read_json(run / "metrics.json")


def computed(run):
    path = run / JOURNAL
    return [entry["cell"] for entry in read_jsonl(path)] if path.exists() else []


# what the numbers say


def test_a_leak_that_only_training_finds_is_flagged(tmp_path):
    attacks = {"off_the_shelf": OffTheShelf(), "from_scratch": SCRATCH}
    metrics = compared(bench(tmp_path, "leak", "constant", attacks=attacks), tmp_path / "run")
    assert metrics["leak/1.5m/identified"] == 1
    assert metrics["constant/1.5m/identified"] == 0
    assert metrics["leak/1.5m/attacked_auc"] == metrics["leak/1.5m/from_scratch_auc"]
    assert metrics["leak/1.5m/attacked_auc_lo"] > metrics["leak/1.5m/off_the_shelf_auc"]


def test_a_constant_has_no_utility_and_the_clear_picture_has_some(tmp_path):
    utilities = {"landmarks": Landmarks(Schedule(1, 1, 1e-3), (8, 8))}
    where = bench(
        tmp_path, "constant", "clear", attacks={}, utilities=utilities, reader=tiny_regressor()
    )
    metrics = compared(where, tmp_path / "run")
    assert metrics["constant/1.5m/landmark_gain"] == 0
    assert metrics["constant/1.5m/yaw_r"] == 0
    assert metrics["constant/1.5m/failures"] == 1
    assert metrics["clear/1.5m/nme"] == metrics["clear/1.5m/nme_clear"]


def test_whoever_is_given_the_answer_reaches_the_ceiling(tmp_path):
    metrics = compared(bench(tmp_path, "clear", "noise"), tmp_path / "run")
    assert metrics["clear/1.5m/attacked_auc"] == metrics["ceiling/auc"] > 0.9
    assert metrics["noise/1.5m/attacked_auc_lo"] <= 0.5 <= metrics["noise/1.5m/attacked_auc_hi"]


def test_people_dealt_anew_are_not_found(tmp_path):
    metrics = compared(bench(tmp_path, "clear", shuffle=True), tmp_path / "run")
    assert metrics["clear/1.5m/attacked_auc_lo"] <= 0.5 <= metrics["clear/1.5m/attacked_auc_hi"]
    assert metrics["clear/1.5m/identified"] == 0


def test_every_number_of_the_table_has_interval_and_count(tmp_path):
    metrics = compared(bench(tmp_path, "clear"), tmp_path / "run")
    for end in ("", "_lo", "_hi", "_n"):
        assert f"clear/1.5m/off_the_shelf_frames_1_auc{end}" in metrics
        assert f"clear/1.5m/attacked_auc{end}" in metrics
    with (tmp_path / "run/table.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["attacked_auc"]) == metrics["clear/1.5m/attacked_auc"]
    assert row["worst_attack"] == "off_the_shelf"


# what is kept


def test_two_comparisons_with_one_seed_are_the_same(tmp_path):
    for name in "ab":
        attacks = {"off_the_shelf": OffTheShelf(), "from_scratch": BRIEF}
        compared(bench(tmp_path / name, "leak", "clear", attacks=attacks), tmp_path / name / "run")
    for file in ("metrics.json", "table.csv", "table.tex"):
        one, two = ((tmp_path / name / "run" / file).read_bytes() for name in "ab")
        assert one == two


def test_a_further_contestant_costs_its_own_cells_only(tmp_path):
    first = compared(bench(tmp_path, "clear", "leak"), tmp_path / "one")
    where = bench(tmp_path, "clear", "constant", "leak")
    second = compared(where, tmp_path / "two")
    assert computed(tmp_path / "two") == ["constant/1.5m/off_the_shelf", "constant/1.5m/shown"]
    assert where.contestants["clear"].opened == 0
    assert first.items() <= second.items()
    compared(bench(tmp_path, "clear", "constant", "leak"), tmp_path / "three")
    assert computed(tmp_path / "three") == []


def test_a_changed_attack_is_computed_anew_and_nothing_else(tmp_path):
    attacks = {"off_the_shelf": OffTheShelf(), "from_scratch": BRIEF}
    where = bench(tmp_path, "leak", attacks=attacks)
    keys = {cell.name: cell.key for cell in plan(where)}
    node = {"off_the_shelf": {"name": "off_the_shelf"}, "from_scratch": {"steps": 5}}
    other = bench(tmp_path, "leak", attacks=attacks, settings={"attacks": node})
    found = {cell.name: cell.key for cell in plan(other)}
    assert {name for name in keys if keys[name] != found[name]} == {"from_scratch"}


def test_a_key_does_not_depend_on_where_weights_are_looked_for():
    node = {"file": "a.safetensors", "search": ["here"], "deep": [{"search": 1, "steps": 2}]}
    moved = {"deep": [{"steps": 2, "search": 3}], "search": [], "file": "a.safetensors"}
    assert digest(node) == digest(moved)
    assert digest(node) != digest(node | {"deep": [{"steps": 3}]})


class Interrupted(Attack):
    """Finds nothing; stops the program, or fails, as often as it is told."""

    actor = "A0"

    def __init__(self, error: BaseException | None, times: int = 1) -> None:
        self.error, self.times = error, times

    def budget(self):
        return {}

    def run(self, trial, name):
        (trial.folder / "half.safetensors").write_bytes(b"half")
        if self.error is not None and self.times:
            self.times -= 1
            raise self.error
        return OffTheShelf().run(trial, name)


def test_an_interrupted_comparison_goes_on_as_if_nothing_had_happened(tmp_path):
    stop = {"off_the_shelf": OffTheShelf(), "late": Interrupted(KeyboardInterrupt())}
    (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        finish(bench(tmp_path / "a", "clear", "leak", attacks=stop), tmp_path / "run")
    assert computed(tmp_path / "run") == ["clear/1.5m/off_the_shelf"]
    through = {"off_the_shelf": OffTheShelf(), "late": Interrupted(None)}
    resumed = compared(bench(tmp_path / "a", "clear", "leak", attacks=through), tmp_path / "on")
    assert "clear/1.5m/off_the_shelf" not in computed(tmp_path / "on")
    assert resumed == compared(
        bench(tmp_path / "b", "clear", "leak", attacks=through), tmp_path / "whole"
    )
    assert not list((tmp_path / "a/cache/compare").glob(".*"))


def test_what_a_killed_process_left_is_removed(tmp_path):
    where = bench(tmp_path, "clear")
    left = tmp_path / "cache/compare/.abc.999999999"
    left.mkdir(parents=True)
    compared(where, tmp_path / "run")
    assert not left.exists()


def test_a_failing_cell_is_reported_and_tried_again(tmp_path):
    attacks = {"off_the_shelf": OffTheShelf(), "late": Interrupted(ValueError("no light"))}
    (tmp_path / "run").mkdir()
    with pytest.raises(CellsFailed, match=r"1 of 6 cells failed .*late: ValueError: no light"):
        finish(bench(tmp_path, "clear", "leak", attacks=attacks), tmp_path / "run")
    metrics = read_json(tmp_path / "run/metrics.json")
    assert "clear/1.5m/off_the_shelf_auc" in metrics
    assert "leak/1.5m/late_auc" in metrics
    assert "clear/1.5m/late_auc" not in metrics
    states = {
        (one["method"], one["name"]): one["state"] for one in read_json(tmp_path / "run/cells.json")
    }
    assert [where for where, state in states.items() if state == "failed"] == [("clear", "late")]
    again = compared(bench(tmp_path, "clear", "leak", attacks=attacks), tmp_path / "again")
    assert computed(tmp_path / "again") == ["clear/1.5m/late"]
    assert "clear/1.5m/late_auc" in again


def test_a_contestant_that_is_not_there_is_not_run_and_says_why(tmp_path):
    where = bench(tmp_path, "missing", "clear")
    compared(where, tmp_path / "run")
    with (tmp_path / "run/table.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows["missing"]["off_the_shelf_auc"] == rows["missing"]["worst_attack"] == NOT_RUN
    assert rows["clear"]["off_the_shelf_auc"] != NOT_RUN
    (cell,) = (
        one for one in read_json(tmp_path / "run/cells.json")
        if (one["method"], one["name"]) == ("missing", "off_the_shelf")
    )  # fmt: skip
    assert (cell["state"], cell["reason"]) == ("not run", "no weights of this one are here")


def test_photographs_know_no_distance(tmp_path):
    far = {"distances": [3.0], "elsewhere": ["off_the_shelf"]}
    cells = plan(bench(tmp_path, "clear", settings=far))
    reasons = {cell.distance: cell.reason for cell in cells}
    assert reasons == {1.5: "", 3.0: "it works on photographs: the distance plays no part"}


def test_a_damaged_record_is_refused(tmp_path):
    where = bench(tmp_path, "clear")
    compared(where, tmp_path / "run")
    cell = plan(where)[0]
    folder = Cache(tmp_path / "cache").place(cell.key)
    shutil.copytree(folder, folder.with_name("0" * 64))
    with pytest.raises(ArtifactError, match="holds another cell; remove that folder"):
        Cache(tmp_path / "cache").read("0" * 64)


# tables and page


def test_the_front_holds_whom_nobody_beats_in_both():
    points = [(0.9, 0.9), (0.6, 0.4), (0.7, 0.3), (0.95, 0.8), (0.6, 0.2), (1.0, 1.0)]
    assert [points[i] for i in pareto(points)] == [(0.6, 0.4), (0.9, 0.9), (1.0, 1.0)]


def test_latex_has_no_sign_that_it_would_stumble_over(tmp_path):
    where = bench(tmp_path, "clear")
    compared(where, tmp_path / "run")
    text = (tmp_path / "run/table.tex").read_text()
    assert r"\begin{tabular}" in text
    assert "_" not in text.replace(r"\_", "")
    assert as_tex(make_rows([], {})).count("\n") == 6


def test_the_page_names_what_counts(tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(
        "experiments.comparison.methods.write_sheet", lambda run, page: pages.append(page)
    )
    attacks = {"off_the_shelf": OffTheShelf(), "from_scratch": BRIEF}
    compared(bench(tmp_path, "clear", "constant", "missing", attacks=attacks), tmp_path / "run")
    (page,) = pages
    assert page.headline.startswith("1 of 2 methods give people away")
    assert "constant" in page.headline
    assert any("without weights" in paragraph for paragraph in page.lead)
    headings = {section.heading: section for section in page.sections}
    (table,) = headings["The table"].tables
    assert table.sortable
    rows = {row[0]: row for row in table.rows}
    assert set(rows["without weights"][2:]) == {NOT_RUN}
    (actors,) = headings["Who can do what"].tables
    by = dict(zip(actors.columns, next(r for r in actors.rows if r[0] == "clear"), strict=True))
    assert [by[name].split(",")[0] for name in by if name[:2] in ("A0", "A2")] == ["yes", NOT_RUN]
    assert "Simulation and hardware" not in headings


def test_a_measured_camera_has_a_section_of_its_own(tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(
        "experiments.comparison.methods.write_sheet", lambda run, page: pages.append(page)
    )
    compared(bench(tmp_path, "measured", "noise"), tmp_path / "run")
    (section,) = (one for one in pages[0].sections if one.heading == "Simulation and hardware")
    (table,) = section.tables
    assert [row[:2] for row in table.rows] == [("as measured", "measured")]
    assert "as measured" in section.sentence


@pytest.mark.slow
def test_the_page_and_its_figures_are_written(tmp_path, monkeypatch):
    monkeypatch.undo()
    compared(bench(tmp_path, "clear", "leak", "noise"), tmp_path / "run")
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert 'class="sortable"' in page
    assert "aria-sort" in page
    for name in ("roc", "wall"):
        assert (tmp_path / f"run/figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / f"run/figures/{name}.png").exists()
    assert json.loads((tmp_path / "run/metrics.json").read_text())
