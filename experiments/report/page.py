"""Put figures, tables and sentences into one self-contained page."""

import logging
from pathlib import Path

from experiments.report import figures_faces, figures_light, figures_privacy, figures_training
from experiments.report.drawing import Drawing, Missing
from experiments.report.publishing import Picture, command_line, publish, templates
from experiments.report.record import RunRecord, read_run
from experiments.report.tables import comparison, counts, refused, tiles, versions
from experiments.report.verdict import better_baselines, headline, sample, verdict
from experiments.report.wording import camera_label, enumerate_words
from experiments.store import atomic_write

_log = logging.getLogger(__name__)
_CONFIG_LIMIT = 200_000  # characters of settings that the page shows


def write_report(run: Path, *, dpi: int = 160) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished run.

    Parameters
    ----------
    run : Path
        Run folder; what it does not hold is left out of the page with a sentence.
    dpi : int, default 160
        Resolution of the figures, 40 to 400 [dots per inch].

    Returns
    -------
    Path
        The page; it refers to nothing outside itself.

    Raises
    ------
    ArtifactError
        If there is no ``metrics.json`` or a file that is there cannot be read.
    """
    if not 40 <= dpi <= 400:
        raise ValueError(f"dpi = {dpi}, expected 40 to 400; 160 suits most screens")
    record = read_run(run)
    figures = run / "figures"
    sections = {
        name: [publish(item, figures, dpi) for item in drawn]
        for name, drawn in _draw(record).items()
    }
    page = _render_page(record, sections)
    path = run / "report.html"
    atomic_write(path, page.encode())
    _log.info("wrote %s, %.1f MB", path.name, len(page) / 1e6)
    return path


def _draw(record: RunRecord) -> dict[str, list[Drawing | Missing]]:
    """Return the figures of every section."""
    return {
        "people": [figures_faces.people_strip(record), figures_faces.camera_strip(record)],
        "trade": [figures_privacy.scatter(record)],
        "distance": figures_privacy.over_distance(record),
        "exposure": figures_privacy.over_exposure(record),
        "mtf": [figures_light.mtf_chart(record)],
        "mask": [
            figures_light.mask_map(record),
            figures_light.mask_centre(record),
            figures_light.mask_profile(record),
        ],
        "psf": [figures_light.psf_grid(record), figures_light.psf_cameras(record)],
        "training": figures_training.training_charts(record),
        "data": [figures_faces.contact_sheet(record)],
    }


def _render_page(record: RunRecord, sections: dict[str, list[Picture]]) -> str:
    columns, rows = comparison(record)
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            record=record,
            sections=sections,
            headline=headline(record),
            verdict=verdict(record),
            tiles=tiles(record),
            columns=columns,
            rows=rows,
            table_note=_table_note(record),
            sample=sample(record),
            counts=counts(record),
            refused=refused(record),
            versions=versions(record),
            command=command_line(record.job, record.overrides),
            config=record.config[:_CONFIG_LIMIT],
        )
    )


def _table_note(record: RunRecord) -> str:
    better = [camera_label(item.camera) for item in better_baselines(record)]
    if not better:
        return "No baseline here is both more private and more useful than the learned mask."
    verb = "is" if len(better) == 1 else "are"
    return (
        f"The {enumerate_words(better)} {verb} both more private and more useful than the "
        f"learned mask in these numbers."
    )
