"""The page of a comparison: design, exported files, measurement and twin side by side."""

from collections.abc import Mapping, Sequence

from calibration.psf.stack import PsfStack
from experiments.comparing import Row
from experiments.hardware_comparison import Candidates
from experiments.preview import Seen
from experiments.report.calibration_sheet import depth_tables, lights_table
from experiments.report.figures_calibration import energy_figure, mtf_figure, psf_figure, shown
from experiments.report.seen_numbers import numbers_table, psf_row
from experiments.report.sheet import Section, Sheet
from experiments.twinning import Laid

_NOUN = {"design": "design", "as exported": "exported mask", "twin": "twin"}
_ALT = "PSFs of the cameras that were looked through."


def hardware_sheet(
    found: Candidates,
    stack: PsfStack,
    laid: Mapping[str, Laid],
    rows: Mapping[str, Sequence[Row]],
    numbers: Mapping[str, Mapping[str, float]],
    seen: Mapping[str, Seen],
    *,
    thresholds: Mapping[str, Mapping[str, float]],
    refused: Sequence[str],
    skipped: str,
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    found : Candidates
        What was compared.
    stack : PsfStack
        What was measured.
    laid, rows, numbers : mapping
        Camera to how it was laid on it, its numbers by depth, and what they come to.
    seen : mapping
        Cameras that faces were looked at through.
    thresholds : mapping
        Profile of the traffic lights.
    refused : sequence of str
        In which respects the twin is worse than the design.
    skipped : str
        Why faces were not looked at, or "".
    """
    step = 2 if stack.cfa else 1
    depths = shown(stack, laid)
    lead = [
        f"Calibration {found.folder.name}, session {found.record['inputs']['session']['folder']}; "
        f"design {found.design.record['name']}. {stack.depths} distances, "
        f"{stack.readings.min():.3g} to {stack.readings.max():.3g} m."
    ]
    if found.record["failed"]:
        lead.append(f"The calibration is not whole: {found.record['failed']}")
    if refused:
        lead.append(
            f"Refused: the twin explains the measurement worse than the bare design "
            f"({'; '.join(refused)}). Use the design as it is."
        )
    sections = [
        Section(
            "Against what was measured",
            "Means over depths and colour planes, changes by their size; peak and displacement "
            "are those of the greens.",
            tables=[lights_table(numbers, thresholds)],
        ),
        Section("Point-spread functions", figures=[psf_figure(depths, step)]),
        Section(
            "Transfer and energy",
            figures=[mtf_figure(rows), energy_figure(depths, step)],
            tables=[t for name, own in rows.items() for t in depth_tables(own, _NOUN[name])],
        ),
    ]
    if seen:
        sections.append(
            Section(
                "What it means for faces",
                "Landmark network and attackers are those of the design; none was trained again. "
                "The measured PSF has been brought to the binned pixels, its energy to that of "
                "the design. All at the measured distance that is nearest to the reference.",
                [psf_row(seen, across=len(seen), alt=_ALT)],
                [numbers_table(seen)],
            )
        )
    if skipped:
        sections.append(Section("What was not looked through", skipped))
    return Sheet(headline=_headline(numbers, refused), lead=lead, sections=sections)


def _headline(numbers: Mapping[str, Mapping[str, float]], refused: Sequence[str]) -> str:
    if refused:
        return "Refused: the calibration is worse than the bare design"
    parts = [f"{name} {own['ncc']:.4f}" for name, own in numbers.items()]
    return f"Correlation with what was measured: {', '.join(parts)}"
