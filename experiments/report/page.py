"""Put figures, tables and sentences into one self-contained page."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.report import figures_faces, figures_light, figures_privacy, figures_training
from experiments.report.drawing import Drawing, Missing, data_uri, png, render
from experiments.report.record import RunRecord, read_run
from experiments.report.tables import comparison, counts, refused, tiles, versions
from experiments.report.verdict import better_baselines, headline, sample, verdict
from experiments.report.wording import camera_label, enumerate_words
from experiments.store import atomic_write

_log = logging.getLogger(__name__)
_CSS_DPI = 96  # a figure's inch is a CSS inch, so text on the page has one size
_CONFIG_LIMIT = 200_000  # characters of settings that the page shows


@dataclass(frozen=True)
class Picture:
    """A figure as the template places it; without `source`, the sentence says what is missing."""

    name: str
    caption: str
    source: str = ""
    narrow: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0
    full: bool = False


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
        name: [_publish(item, figures, dpi) for item in drawn]
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


def _publish(item: Drawing | Missing, folder: Path, dpi: int) -> Picture:
    """Write the figure to the folder and return it as the page shows it."""
    if isinstance(item, Missing):
        return Picture(item.name, item.sentence)
    wide = render(item.figure, dpi)
    atomic_write(folder / f"{item.name}.png", png(wide))
    narrow = ""
    if item.narrow is not None:
        narrow = data_uri(render(item.narrow, dpi), photographic=item.photographic)
    return Picture(
        item.name,
        item.caption,
        data_uri(wide, photographic=item.photographic),
        narrow,
        item.alt,
        round(wide.width * _CSS_DPI / dpi),
        round(wide.height * _CSS_DPI / dpi),
        item.full,
    )


def _render_page(record: RunRecord, sections: dict[str, list[Picture]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, rows = comparison(record)
    return environment.get_template("page.html.j2").render(
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
        command=_command(record.job, record.overrides),
        config=record.config[:_CONFIG_LIMIT],
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


def _command(job: str, overrides: Sequence[str]) -> str:
    """Return the command line that makes the run again."""
    return shlex.join(["./lab", job, *overrides])
