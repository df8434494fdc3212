"""Compare what was made with what was meant: design, exported files, measurement, twin.

Every camera is laid on the PSFs that were measured and judged by the same numbers. Where the
design was learned, its own landmark network and its own attackers then look through the measured
PSF: what the errors of making cost in use, and in privacy. A calibration that explains the
measurement worse than the bare design is refused, with both numbers.

    ./lab compare hardware calibration=latest
    ./lab compare hardware calibration=<run> export=<export run>
    ./lab compare hardware calibration=<run> design=<another run>
"""

import logging
from pathlib import Path
from typing import Any

from calibration.errors import CalibrationError
from experiments.calibrating import load_stacks
from experiments.calibration_results import open_calibration
from experiments.comparing import check_thresholds, compare_laid, sheet, summary, worse
from experiments.hardware_comparison import (
    Candidates,
    candidates,
    look_through,
)
from experiments.preview import SHOWN, Seen, check_preview
from experiments.report.hardware_sheet import hardware_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings
from experiments.store import save_json
from experiments.twinning import Laid, lay_design

log = logging.getLogger(__name__)


def compare_hardware(settings: Settings, run: Path) -> None:
    """Compare one calibration with its design."""
    settings = completed(settings)
    found = opened(settings)
    stack = found.stacks[found.twin_field]
    laid: dict[str, Laid] = {}
    for name, camera in found.cameras.items():
        laid[name] = found.laid.get(name) or lay_design(
            camera, stack, source_diameter=found.source_diameter
        )
    if "twin" in found.laid:
        laid["twin"] = found.laid["twin"]
    rows = {name: compare_laid([stack], [one]) for name, one in laid.items()}
    numbers = {name: summary(own) for name, own in rows.items()}
    for name, one in numbers.items():
        log.info("%-12s NCC %.4f, chi-square %.2f", name, one["ncc"], one["chi2_per_pixel"])
    seen: dict[str, Seen] = {}
    skipped = found.why_no_preview
    if settings["preview"] and not skipped:
        seen, skipped = look_through(settings, found, stack, laid)
    metrics = {
        f"{name}/{key}": value for name, own in numbers.items() for key, value in own.items()
    }
    for name, look in seen.items():
        metrics |= {f"{name}/{key}": look.metrics[key] for key in SHOWN if key in look.metrics}
    refused = worse(numbers["design"], numbers["twin"]) if "twin" in numbers else []
    metrics["refused"] = float(bool(refused))
    save_json(run / "metrics.json", metrics)
    save_json(run / "comparison.json", {name: sheet(own) for name, own in rows.items()})
    page = hardware_sheet(
        found, stack, laid, rows, numbers, seen,
        thresholds=settings["thresholds"], refused=refused, skipped=skipped,
    )  # fmt: skip
    write_sheet(run, page)
    if refused:
        raise CalibrationError(
            f"calibration refused: it is worse than the bare design ({'; '.join(refused)}); use "
            f"the design as it is, and look in {run / 'report.html'} which depth it fails at"
        )


def opened(settings: Settings) -> Candidates:
    """Return what is to be compared.

    Raises
    ------
    ArtifactError
        The calibration is missing, failed, or of another version.
    SettingsError
        It knows no design.
    """
    folder, record = open_calibration(settings["calibration"])
    return candidates(settings, folder, record, load_stacks(folder))


def check_hardware(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    settings = completed(settings)
    check_thresholds(settings["thresholds"])
    check_preview(settings)
    opened(settings)


def completed(settings: Settings) -> Settings:
    """Return the settings with what was left to this comparison."""
    own: dict[str, Any] = {"design": "calibration", "pictures": 60}
    missing = {key: value for key, value in own.items() if settings[key] is None}
    return Settings({**settings, **missing}, settings.path)
