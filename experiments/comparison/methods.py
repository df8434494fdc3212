"""The comparison of methods: which cells there are, what became of them, and what it comes to."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.attack import build_attacks
from experiments.comparison.bench import Bench, build_contestants, build_utilities
from experiments.comparison.cells import Cache, Cell, Part, Result, label
from experiments.comparison.crew import CellsFailed, compute_all
from experiments.comparison.table import as_csv, as_tex, flat, make_rows
from experiments.report.comparison_sheet import Comparison, comparison_sheet
from experiments.report.drawing import Drawing
from experiments.report.publishing import write_pdf
from experiments.report.sheet import write_sheet
from experiments.settings import Settings, SettingsError, build
from experiments.store import append_jsonl, atomic_write, save_json

JOURNAL = "journal.jsonl"

log = logging.getLogger(__name__)


def compare_methods(settings: Settings, run: Path) -> None:
    """Compute what the cache does not hold, and write tables and page.

    Raises
    ------
    CellsFailed
        A cell failed; it is marked in the table, and tried again next time.
    """
    torch.set_num_threads(settings["threads"])
    finish(Bench.open(completed(settings)), run)


def finish(bench: Bench, run: Path) -> None:
    """Work off all cells of a bench, and write what they come to."""
    for name, reason in bench.absent.items():
        log.warning("%s is not run: %s", name, reason)
    results = work_off(bench, plan(bench), run)
    write_results(bench, results, run)
    failed = [one for one in results if one.state == "failed"]
    if failed:
        what = "; ".join(f"{one.cell.place}: {one.reason}" for one in failed[:3])
        raise CellsFailed(
            f"{len(failed)} of {len(results)} cells failed ({what}); the others are kept: mend "
            f"what is said and give the same command again, it computes the missing cells alone"
        )


def plan(bench: Bench) -> list[Cell]:
    """Return all cells, those of one contestant at one distance together."""
    settings, out = bench.settings, []
    reference = settings["reference_distance"]
    parts: list[tuple[Part, str]] = [("attack", name) for name in bench.attacks]
    parts += [("utility", name) for name in bench.utilities]
    for method in bench.contestants:
        for distance in sorted({reference, *settings["distances"]}):
            here = distance == reference
            some = [(p, n) for p, n in parts if here or n in settings["elsewhere"]]
            some += [("shown", "shown")] if here else []
            out += [bench.cell(method, distance, part, name) for part, name in some]
    return out


def work_off(bench: Bench, cells: Sequence[Cell], run: Path) -> list[Result]:
    """Compute the cells that are not in the cache, long ones first, and return all."""
    cache = Cache(Path(bench.settings["cache"]))
    cache.folder.mkdir(parents=True, exist_ok=True)
    cache.tidy()
    wanted = {cell.key: cell for cell in cells if cell.key}
    left = [cell for key, cell in wanted.items() if not cache.has(key)]
    left.sort(key=lambda cell: not _is_long(bench, cell))
    log.info(
        "%d cells: %d to compute, %d in the cache, %d not run", len(cells), len(left),
        len(wanted) - len(left), len(cells) - sum(bool(cell.key) for cell in cells),
    )  # fmt: skip
    ended: dict[str, tuple[str, str]] = {}
    silent = None if bench.settings["progress"] else True
    with (
        logging_redirect_tqdm(),
        tqdm(
            total=len(wanted), initial=len(wanted) - len(left), unit="cell", disable=silent
        ) as bar,
    ):
        start = time.monotonic()
        for cell, state, reason in compute_all(
            bench.settings, bench, left, bench.settings["processes"]
        ):
            ended[cell.key] = state, reason
            append_jsonl(run / JOURNAL, {"cell": cell.place, "key": cell.key, "state": state})
            if state == "failed":
                log.error("%s failed: %s", cell.place, reason)
            bar.set_postfix_str(cell.place)
            bar.update()
        log.info("%d cells computed in %.0f s", len(left), time.monotonic() - start)
    return [_result(cell, ended, cache) for cell in cells]


def _is_long(bench: Bench, cell: Cell) -> bool:
    return cell.part == "attack" and "training" in bench.settings["attacks"][cell.name]


def _result(cell: Cell, ended: dict[str, tuple[str, str]], cache: Cache) -> Result:
    if not cell.key:
        return Result(cell, "not run", cell.reason)
    state, reason = ended.get(cell.key, ("done", ""))
    if state == "done":
        return Result(cell, "done", record=cache.read(cell.key))
    return Result(cell, "failed" if state == "failed" else "not run", reason)


def write_results(bench: Bench, results: Sequence[Result], run: Path) -> None:
    """Write records, metrics, tables and the page into the run folder."""
    cache = Cache(Path(bench.settings["cache"]))
    titles = {name: (one.title, one.kind) for name, one in bench.contestants.items()}
    for one in results:
        if one.state == "done":
            cache.copy(one.cell, run)
    save_json(run / "cells.json", [_described(one) for one in results])
    rows = make_rows(results, titles)
    trial = bench.trial
    save_json(run / "metrics.json", flat(rows, trial.floor, trial.ceiling))
    atomic_write(run / "table.csv", as_csv(rows).encode())
    atomic_write(run / "table.tex", as_tex(rows).encode())
    seen = Comparison(
        run=run,
        rows=rows,
        results=results,
        reference=bench.settings["reference_distance"],
        floor=trial.floor,
        ceiling=trial.ceiling,
        judged_by=bench.judged_by(),
        people={
            "learned from": len(set(trial.learn.person)),
            "chosen on": len(set(trial.tune.person)),
            "tested": len(set(trial.held.crops.person)),
        },
        pictures=len(trial.held.crops),
        rendered="Synthetic" in str(bench.settings["data"].get("_target_")),
        calibrated=[
            n for n, node in bench.settings["contestants"].items() if "calibration" in node
        ],
    )
    page = comparison_sheet(seen)
    for section in page.sections:
        for figure in section.figures:
            if isinstance(figure, Drawing):
                write_pdf(figure, run / "figures")
    write_sheet(run, page)


def _described(one: Result) -> dict[str, Any]:
    cell = one.cell
    return {
        "method": cell.method,
        "distance": label(cell.distance),
        "part": cell.part,
        "name": cell.name,
        "state": one.state,
        "reason": one.reason,
        "key": cell.key,
        "made_of": one.record.get("made_of", {}),
        "seconds": one.record.get("seconds"),
        "processor_seconds": one.record.get("processor_seconds"),
    }


def check_methods(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    settings = completed(settings)
    if min(settings["pictures"], settings["tuning_pictures"]) < 8:
        raise SettingsError(
            f"pictures = {settings['pictures']}, tuning_pictures = {settings['tuning_pictures']}: "
            f"at least 8 pictures of each"
        )
    if not 1 <= settings["processes"] <= 256 or not 1 <= settings["threads"] <= 256:
        raise SettingsError(
            f"processes = {settings['processes']}, threads = {settings['threads']}: expected 1 to "
            f"256 of each"
        )
    attacks, utilities = build_attacks(settings), build_utilities(settings)
    build_contestants(settings)
    if twice := sorted(set(attacks) & set(utilities)):
        raise SettingsError(f"utilities.{twice[0]}: an attack has that name already")
    if unknown := sorted(set(settings["elsewhere"]) - {*attacks, *utilities}):
        raise SettingsError(
            f"elsewhere names {unknown[0]!r}; of attacks and measures of utility there are "
            f"{', '.join((*attacks, *utilities))}"
        )
    if min(settings["reference_distance"], *settings["distances"], 1e9) <= 0:
        raise SettingsError(f"distances = {settings['distances']} m: positive lengths are needed")
    for name in ("data", "framing"):
        build(settings[name])


def completed(settings: Settings) -> Settings:
    """Return the settings with what was left to this comparison."""
    missing = {"pictures": 300} if settings["pictures"] is None else {}
    return Settings({**settings, **missing}, settings.path)
