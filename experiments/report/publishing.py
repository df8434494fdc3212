"""What every page shares: figures as files and as part of the page, templates, command lines."""

import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.report.drawing import (
    Drawing,
    Missing,
    data_uri,
    house_style,
    png,
    render,
)
from experiments.store import atomic_write

_CSS_DPI = 96  # a figure's inch is a CSS inch, so text on the page has one size


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


def publish(item: Drawing | Missing, folder: Path, dpi: int) -> Picture:
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


def write_pdf(item: Drawing, folder: Path) -> None:
    """Write the figure as lines that a paper can enlarge, the same bytes each time."""
    buffer = io.BytesIO()
    with house_style():
        item.figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    atomic_write(folder / f"{item.name}.pdf", buffer.getvalue())


def templates() -> Environment:
    """Return the templates of this package; everything put into them is escaped."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def command_line(job: str, overrides: Sequence[str]) -> str:
    """Return the command line that makes the run again."""
    return shlex.join(["./lab", job, *overrides])
