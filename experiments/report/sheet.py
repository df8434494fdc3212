"""A plain page for jobs with a handful of figures and tables: one headline, sections below it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.report.drawing import Drawing, Missing
from experiments.report.publishing import command_line, publish, templates
from experiments.store import atomic_write, read_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row.

    Attributes
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence of str
        Cells as they are shown.
    note : str
        Sentence below it.
    sortable : bool
        Whether a click on a heading sorts by it.
    folded : str
        What to click on to see it; shown at once if empty.
    compact : bool
        Whether what stands in brackets at the end of a cell goes below it, in small print.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    sortable: bool = False
    folded: str = ""
    compact: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, points, figures and tables."""

    heading: str
    sentence: str = ""
    figures: Sequence[Drawing | Missing] = ()
    tables: Sequence[Table] = ()
    points: Sequence[str] = ()


@dataclass(frozen=True)
class Sheet:
    """A page.

    Attributes
    ----------
    headline : str
        What was found, in one sentence.
    lead : sequence of str
        Paragraphs below it.
    sections : sequence of Section
        The rest.
    """

    headline: str
    lead: Sequence[str]
    sections: Sequence[Section]


def write_sheet(run: Path, sheet: Sheet, *, dpi: int = 160) -> Path:
    """Write ``figures/*.png`` and a self-contained ``report.html`` into a run folder.

    Parameters
    ----------
    run : Path
        Run folder of a job, with its ``run.json``.
    sheet : Sheet
        What the page shows.
    dpi : int
        Resolution of the figures [dots per inch].
    """
    record = read_json(run / "run.json") if (run / "run.json").exists() else {}
    sections = [
        {
            "heading": section.heading,
            "sentence": section.sentence,
            "points": section.points,
            "pictures": [publish(item, run / "figures", dpi) for item in section.figures],
            "tables": section.tables,
        }
        for section in sheet.sections
    ]
    job = str(record.get("job", run.parent.name))
    versions = record.get("versions", {})
    page = (
        templates()
        .get_template("sheet.html.j2")
        .render(
            job=job,
            name=run.name,
            sheet=sheet,
            sections=sections,
            sortable=any(table.sortable for one in sheet.sections for table in one.tables),
            command=command_line(job, record.get("overrides", [])),
            versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        )
    )
    path = run / "report.html"
    atomic_write(path, page.encode())
    _log.info("wrote %s, %.1f MB", path.name, len(page) / 1e6)
    return path
