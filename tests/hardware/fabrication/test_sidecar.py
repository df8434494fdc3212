"""The sidecar says everything with its unit, comes back, and notices every change."""

import json

import numpy as np
import pytest

from hardware.fabrication.levels import Levels
from hardware.fabrication.rules import Process
from hardware.fabrication.sidecar import SidecarError, build_sidecar, read_sidecar, sidecar_text
from hardware.fabrication.target import RoundTrip
from tests.hardware.fabrication.designs import blazed


def sheet_of(folder, **changes):
    file = folder / "mask.gds"
    file.write_bytes(b"content")
    design, levels = blazed(), Levels(8)
    report = Process(min_feature=8e-6, max_size=1e-5, min_zone=1e-5).check(design, levels)
    settings = {
        "options": {"unit_nm": 1.0, "layers": [1, 2, 3]},
        "notes": {"origin": "middle", "grey_nm": {"0": 0.5, "1": 1.5}},
        "findings": report.findings,
        "round_trip": RoundTrip(1e-10, 0, 1e-9, 2e-10),
        "files": [file],
        "tools": {"gdstk": "1.0", "a": "2"},
        "levels": levels,
    }
    return design, build_sidecar(design, "gds", **(settings | changes))


def written(folder):
    _, sheet = sheet_of(folder)
    path = folder / "mask.json"
    path.write_text(sidecar_text(sheet), encoding="utf-8")
    return path, sheet


def test_a_sidecar_comes_back_and_is_the_same_twice(tmp_path):
    path, sheet = written(tmp_path)
    assert read_sidecar(path) == sheet
    assert sidecar_text(sheet_of(tmp_path)[1]) == path.read_text(encoding="utf-8")


def test_it_holds_what_a_maker_needs(tmp_path):
    design, sheet = sheet_of(tmp_path)
    drawn = sheet["design"]
    assert drawn["digest"] == design.digest
    assert (drawn["rows"], drawn["columns"]) == (40, 56)
    assert drawn["width_m"] == pytest.approx(56 * 4e-6)
    etches = sheet["levels"]["etches"]
    # 540 nm / 0.4604 / 8 and its doubles
    assert [e["depth_nm"] for e in etches] == pytest.approx([146.61, 293.22, 586.45], abs=0.01)
    assert etches[-1]["cumulative_depth_nm"] == pytest.approx(1026.28, abs=0.01)
    failed = [check for check in sheet["checks"] if not check["ok"]]
    assert failed
    first = next(check for check in failed if check["cells"])
    assert {"row", "column", "x_m", "y_m"} == set(first["places"][0])
    assert any("limit_m" in check for check in sheet["checks"])


def test_no_number_with_a_fraction_is_without_its_unit(tmp_path):
    for bad in ({"thickness": 0.5}, {"a_m": 1e-3, "deep": [{"b": 0.25}]}, {"step_apples": 1.5}):
        with pytest.raises(ValueError, match="has no unit"):
            sheet_of(tmp_path, notes=bad)
    with pytest.raises(ValueError, match="finite"):
        sheet_of(tmp_path, notes={"a_m": np.inf})


def test_a_changed_or_missing_file_is_noticed(tmp_path):
    path, _ = written(tmp_path)
    (tmp_path / "mask.gds").write_bytes(b"Content")  # as long as before
    with pytest.raises(SidecarError, match=r"mask\.gds was changed"):
        read_sidecar(path)
    (tmp_path / "mask.gds").unlink()
    with pytest.raises(SidecarError, match=r"mask\.gds is listed but missing"):
        read_sidecar(path)


def change(sheet, where, value):
    *above, last = where
    for key in above:
        sheet = sheet[key]
    if value is None:
        del sheet[last]
    else:
        sheet[last] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("schema_version",), 2, "schema_version = 2"),
        (("schema_version",), True, "schema_version"),
        (("schema_version",), None, "no schema_version"),
        (("design",), None, "design is missing"),
        (("design", "index_source"), None, r"design\.index_source"),
        (("design", "pitch_m"), "4 um", r"design\.pitch_m"),
        (("design", "rows"), True, r"design\.rows"),
        (("design", "digest"), "abc", "no SHA-256"),
        (("levels",), None, "levels is missing"),
        (("files",), {}, "files is missing"),
        (("round_trip", "step_m"), None, r"round_trip\.step_m"),
        (("target", "notes", "size"), 1.5, "has no unit"),
        (("files", 0, "name"), "../mask.gds", "beside the sidecar"),
        (("files", 0, "name"), None, "without a name"),
        (("files", 0, "sha256"), "0" * 64, "was changed"),
    ],
)
def test_a_damaged_sidecar_is_refused(tmp_path, where, value, message):
    path, sheet = written(tmp_path)
    change(sheet, where, value)
    path.write_text(json.dumps(sheet), encoding="utf-8")
    with pytest.raises(SidecarError, match=message):
        read_sidecar(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "null"])
def test_what_is_no_sidecar_is_refused(tmp_path, text):
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(SidecarError):
        read_sidecar(path)
    with pytest.raises(SidecarError, match="cannot be read"):
        read_sidecar(tmp_path / "nothing.json")
