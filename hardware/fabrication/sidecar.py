"""The sheet that goes with the files of a mask: plain JSON that says what every number means.

A number that is not whole stands under a key that ends in its unit, ``pitch_m`` or ``depth_nm``;
``_ratio`` marks plain numbers. There is no time in it: the same design gives the same bytes.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from hardware.errors import HardwareError
from hardware.fabrication.design import MaskDesign
from hardware.fabrication.findings import Finding
from hardware.fabrication.levels import Levels
from hardware.fabrication.target import Plain, RoundTrip

SCHEMA_VERSION = 1
#: Last parts of keys under which a number with a fraction may stand.
UNITS = frozenset(
    [
        "m",
        "cm",
        "mm",
        "um",
        "nm",
        "pm",
        "in",
        "K",
        "rad",
        "mrad",
        "urad",
        "deg",
        "s",
        "ms",
        "V",
        "A",
        "W",
        "J",
        "mJ",
        "px",
        "dpi",
        "waves",
        "turns",
        "cells",
        "percent",
        "ratio",
        "dn",
        "grey",
        "B",
        "m2",
        "mm2",
        "um2",
        "m3",
        "mm3",
        "um3",
    ]
)
_LARGEST = 16 * 2**20  # bytes
_SHA = re.compile(r"[0-9a-f]{64}")
_NEEDED: dict[str, dict[str, type]] = {
    "design": {
        "name": str,
        "digest": str,
        "rows": int,
        "columns": int,
        "pitch_m": float,
        "width_m": float,
        "height_m": float,
        "clear_diameter_m": float,
        "relief_m": float,
        "pixelated": bool,
        "wavelength_m": float,
        "material": str,
        "index_ratio": float,
        "index_source": str,
        "temperature_K": float,
        "turn_height_m": float,
        "axes": str,
    },
    "target": {"name": str, "options": dict, "notes": dict},
    "round_trip": {
        "max_height_error_m": float,
        "cells_off": int,
        "volume_error_ratio": float,
        "step_m": float,
    },
}


class SidecarError(HardwareError):
    """A sidecar, or a file that it lists, is not what it should be."""


def build_sidecar(
    design: MaskDesign,
    target: str,
    *,
    options: Mapping[str, Plain],
    notes: Mapping[str, Plain],
    findings: Sequence[Finding],
    round_trip: RoundTrip,
    files: Sequence[Path],
    tools: Mapping[str, str],
    levels: Levels | None = None,
) -> dict[str, Plain]:
    """Return the sidecar of a mask that was written and read back.

    Parameters
    ----------
    design : MaskDesign
        What the target was given.
    target : str
        Name of the format.
    options, notes : mapping
        Options of the format, and what it says of its files.
    findings : sequence of Finding
        Outcome of the design rules.
    round_trip : RoundTrip
        Outcome of reading the files again.
    files : sequence of Path
        Files of one folder; they are hashed here.
    tools : mapping
        Names and versions of the libraries that wrote them.
    levels : Levels or None
        Levels of the relief, for the table of etches.

    Raises
    ------
    ValueError
        A number with a fraction stands under a key without a unit, or is not finite.
    """
    width, height = design.size
    sheet: dict[str, Plain] = {
        "schema_version": SCHEMA_VERSION,
        "design": {
            "name": design.name,
            "digest": design.digest,
            "rows": design.shape[0],
            "columns": design.shape[1],
            "pitch_m": float(design.spacing),
            "width_m": float(width),
            "height_m": float(height),
            "clear_diameter_m": float(design.diameter),
            "relief_m": design.relief,
            "pixelated": design.pixelated,
            "wavelength_m": float(design.wavelength),
            "material": design.material,
            "index_ratio": float(design.index),
            "index_source": design.index_source,
            "temperature_K": float(design.temperature),
            "turn_height_m": float(design.turn_height),
            "axes": "rows y down, columns x to the right, seen along the light; heights towards "
            "more material",
        },
        "target": {"name": target, "options": dict(options), "notes": dict(notes)},
        "levels": None if levels is None else _etches(design, levels),
        "checks": [_check(finding) for finding in findings],
        "round_trip": {
            "max_height_error_m": float(round_trip.max_height_error),
            "cells_off": int(round_trip.area_error),
            "volume_error_ratio": float(round_trip.volume_error),
            "step_m": float(round_trip.step),
        },
        "files": [
            {"name": file.name, "size": file.stat().st_size, "sha256": _sha256(file)}
            for file in files
        ],
        "tools": {name: tools[name] for name in sorted(tools)},
    }
    try:
        _check_units(sheet, "")
    except SidecarError as error:
        raise ValueError(str(error)) from error
    return sheet


def sidecar_text(sheet: Mapping[str, Plain]) -> str:
    """Return the text of the file, the same for the same sheet."""
    return json.dumps(sheet, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_sidecar(path: Path, *, folder: Path | None = None) -> dict[str, Plain]:
    """Read a sidecar and check it and the files that it lists.

    Parameters
    ----------
    path : Path
        The sidecar.
    folder : Path or None
        Where the files are; by default beside the sidecar.

    Raises
    ------
    SidecarError
        It is damaged, of another version, lacks an entry, or a file is missing or was changed.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise SidecarError(f"{path}: more than {_LARGEST} bytes; this is no sidecar")
        sheet = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SidecarError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"{path} is not valid JSON ({error}); export the mask again") from error
    if not isinstance(sheet, dict) or "schema_version" not in sheet:
        raise SidecarError(f"{path}: no schema_version; this is not the sidecar of a mask")
    if sheet["schema_version"] != SCHEMA_VERSION or isinstance(sheet["schema_version"], bool):
        raise SidecarError(
            f"{path}: schema_version = {sheet['schema_version']!r}, this program reads "
            f"{SCHEMA_VERSION}; export the mask again, or read it with the program that wrote it"
        )
    _check_entries(sheet, path)
    _check_units(sheet, "")
    base = (folder or path.parent).resolve()
    for entry in sheet["files"]:
        _check_file(entry, base, path)
    return cast(dict[str, Plain], sheet)


def _etches(design: MaskDesign, levels: Levels) -> dict[str, Plain]:
    depths = levels.depths(design)
    return {
        "count": levels.count,
        "waves": levels.waves,
        "step_nm": levels.step(design) * 1e9,
        "efficiency_ratio": levels.efficiency(),
        "etches": [
            {"etch": number, "depth_nm": depth * 1e9, "cumulative_depth_nm": total * 1e9}
            for number, (depth, total) in enumerate(
                zip(depths, [sum(depths[: n + 1]) for n in range(len(depths))], strict=True), 1
            )
        ],
    }


def _check(finding: Finding) -> dict[str, Plain]:
    """Return a finding with its unit in the keys; a value without bound is None."""
    unit = finding.unit or "ratio"
    return {
        "rule": finding.rule,
        "ok": finding.ok,
        f"value_{unit}": float(finding.value) if math.isfinite(finding.value) else None,
        f"limit_{unit}": float(finding.limit),
        "cells": finding.count,
        "places": [
            {"row": p.row, "column": p.column, "x_m": p.x, "y_m": p.y} for p in finding.places
        ],
    }


def _check_entries(sheet: dict[str, Any], path: Path) -> None:
    for part, container in (("checks", list), ("files", list), ("tools", dict)):
        if not isinstance(sheet.get(part), container):
            raise SidecarError(f"{path}: {part} is missing or not a {container.__name__}")
    if "levels" not in sheet:
        raise SidecarError(f"{path}: levels is missing; it is null where there are none")
    for part, keys in _NEEDED.items():
        group = sheet.get(part)
        if not isinstance(group, dict):
            raise SidecarError(f"{path}: {part} is missing")
        for key, kind in keys.items():
            value = group.get(key)
            # a JSON number without a fraction comes back as int, and a bool is an int in Python
            fits = isinstance(value, (int, float) if kind is float else kind)
            if not fits or (isinstance(value, bool) and kind is not bool):
                raise SidecarError(f"{path}: {part}.{key} = {value!r} is missing or of wrong type")
    if not _SHA.fullmatch(sheet["design"]["digest"]):
        raise SidecarError(f"{path}: design.digest is no SHA-256")


def _check_units(value: object, where: str, unit: bool = False) -> None:
    """Refuse numbers with a fraction under a key that does not end in a unit."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            last = str(key).rpartition("_")[2]
            # A table's keys may stand for its columns; its own name then says the unit.
            _check_units(item, f"{where}.{key}".lstrip("."), unit=last in UNITS or unit)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check_units(item, f"{where}[{number}]", unit=unit)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise SidecarError(f"{where} = {value}: a finite number is needed")
        if not unit:
            raise SidecarError(
                f"{where} = {value:g} has no unit; let the key end in one, such as _m, _nm or "
                f"_ratio"
            )


def _check_file(entry: object, base: Path, path: Path) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise SidecarError(f"{path}: a file without a name is listed")
    name = entry["name"]
    if name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name:
        raise SidecarError(f"{path}: the file {name!r} does not lie beside the sidecar")
    file = base / name
    if not file.is_file():
        raise SidecarError(f"{path}: {name} is listed but missing; export the mask again")
    if file.stat().st_size != entry.get("size") or _sha256(file) != entry.get("sha256"):
        raise SidecarError(f"{path}: {name} was changed since it was written; export it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
