"""Draw the gallery: optics by example, every figure checked against a closed form.

Each example is a script of its own, `python -m experiments.gallery.<name>`; this makes all of them,
or one, and a page. It ends with exit code 1 where a closed form is missed.

    ./lab gallery
    ./lab gallery airy
"""

import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.gallery import Result, names, picture, script
from experiments.launch import run_job
from experiments.report.drawing import Drawing
from experiments.report.sheet import Section, Sheet, Table, write_sheet
from experiments.settings import Settings, SettingsError
from experiments.store import save_json

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> int:
    """Compute and draw; return how many closed forms are missed."""
    metrics: dict[str, float | bool] = {}
    sections, missed, checked = [], 0, 0
    for name in names() if settings["what"] == "all" else [settings["what"]]:
        result: Result = script(name).compute()
        for check in result.checks:
            log.info("%-18s %-44s %.1e of %.0e", name, check.what, check.error, check.bar)
        metrics |= {f"{name}/error": result.error, f"{name}/bar": result.bar}
        metrics[f"{name}/ok"] = result.ok
        missed += sum(check.error > check.bar for check in result.checks)
        checked += len(result.checks)
        sections.append(section(name, result))
    save_json(run / "metrics.json", metrics)
    headline = f"{checked - missed} of {checked} numbers agree with their closed forms"
    lead = ("Solid lines and pictures are computed, dashed lines are the textbook's.",)
    write_sheet(run, Sheet(headline, lead, sections))
    return missed


def section(name: str, result: Result) -> Section:
    """Part of the page about one script: its own words, its figure, its numbers."""
    module = script(name)
    heading, _, text = inspect.cleandoc(module.__doc__ or "").partition("\n")
    words, _, usage = text.strip().rpartition("\n\n")
    command, _, shows = (part.strip() for part in usage.strip().partition("    "))
    drawing = Drawing(
        name,
        picture(module, result),
        alt=shows,
        caption=f"{shows[:1].upper()}{shows[1:]}: {command}",
        full=True,
    )
    rows = [
        (c.what, f"{c.found:.7g}", f"{c.expected:.7g}", f"{c.error:.1e}", f"{c.bar:.0e}")
        for c in result.checks
    ]
    columns = ("", "computed", "closed form", "relative error", "allowed")
    sentence = " ".join(words.split())
    return Section(heading, sentence, (drawing,), (Table(columns, rows),))


def check(settings: Settings) -> None:
    """Refuse a script that is not there, before anything is written."""
    known = ["all", *names()]
    if settings["what"] not in known:
        raise SettingsError(f"what = {settings['what']}, expected one of {', '.join(known)}")


def command(arguments: Sequence[str] | None = None) -> None:
    """Run the job as the command line says, and exit; 1 where a closed form is missed.

    The run itself is finished then: what it found is in its folder.
    """
    missed: list[int] = []

    def job(settings: Settings, run: Path) -> None:
        missed.append(main(settings, run))

    try:
        run_job("gallery", job, check=check, arguments=arguments)
    except SystemExit as end:
        sys.exit(end.code or int(any(missed)))


if __name__ == "__main__":
    command()
