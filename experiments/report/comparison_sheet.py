"""The page of a comparison: what an attacker still learns, what a user still can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.attacks.trial import ACTORS, of_source
from experiments.comparison.cells import Result, label
from experiments.comparison.table import NOT_RUN, WORST, Column, Row, columns, text_of
from experiments.report import figures_comparison as figures
from experiments.report.drawing import Drawing
from experiments.report.figures_attacks import success_curves
from experiments.report.sheet import Section, Sheet, Table
from experiments.report.wording import enumerate_words

_SHORT = 12  # hexadecimal digits of a hash that are shown


@dataclass(frozen=True)
class Comparison:
    """What the page shows.

    Attributes
    ----------
    run : Path
        Run folder, with the pictures of the cells.
    rows : sequence of Row
        All of them.
    results : sequence of Result
        All cells.
    reference : float
        Distance at which everything is tried [m].
    floor, ceiling : mapping of str to float
        Numbers of noise and of clear pictures.
    judged_by : mapping
        Hashes of data and judges, and how results are computed.
    people : mapping of str to int
        How many, by what they are for.
    pictures : int
        Of the tested people.
    rendered : bool
        Whether the people do not exist.
    calibrated : sequence of str
        Contestants that were measured.
    """

    run: Path
    rows: Sequence[Row]
    results: Sequence[Result]
    reference: float
    floor: Mapping[str, float]
    ceiling: Mapping[str, float]
    judged_by: Mapping[str, Any]
    people: Mapping[str, int]
    pictures: int
    rendered: bool
    calibrated: Sequence[str]

    @property
    def here(self) -> list[Row]:
        """Rows at the reference distance."""
        return [row for row in self.rows if row.distance == self.reference]


def comparison_sheet(seen: Comparison) -> Sheet:
    """Lay out the page."""
    sections = [
        Section(
            "Private and useful",
            "Each method by the attack that finds most, and by how much of the landmarks it "
            "leaves; better is up and to the left.",
            [figures.plane(seen.here, seen.floor, seen.ceiling)],
        ),
        Section("The table", "A click on a heading sorts by it.", tables=[_main(seen)]),
        Section("The same people, method by method", "", [figures.wall(seen.run, seen.here)]),
        Section(
            "Who can do what",
            "Whether each actor finds people, and the AUC of the attack of theirs that finds most.",
            tables=[_actors(seen.here)],
        ),
        Section(
            "How the attackers fare",
            "",
            [
                figures.roc_curves(seen.here),
                figures.learning_curves(seen.here),
                figures.over_frames(seen.here),
                *_shots_and_light(seen.here),
                figures.over_distance(seen.rows),
            ],
        ),
    ]
    if seen.calibrated:
        sections.append(_hardware(seen))
    sections += [
        Section("What the attackers may spend", "", tables=[_budgets(seen)]),
        Section("What these numbers do not say", points=_limits(seen)),
        Section("Behind the numbers", _judges(seen), tables=[_cells(seen)]),
    ]
    return Sheet(_headline(seen), _lead(seen), sections)


def _shots_and_light(rows: Sequence[Row]) -> list[Drawing]:
    """Return the curves of attacks that tried several numbers of shots and exposures."""
    found = {
        row.title: one["conditions"]
        for row in rows
        for one in row.attacks.values()
        if "exposures_e" in one["budget"] and one["result"] is not None
    }
    drawn = success_curves(found)
    return [drawn] if isinstance(drawn, Drawing) else []


def _headline(seen: Comparison) -> str:
    tried = [row for row in seen.here if row.worst]
    if not tried:
        return "No method could be attacked"
    open_ones = [row for row in tried if row.identifies]
    least = min(tried, key=lambda row: row.numbers[WORST])
    closed = [row.title for row in tried if not row.identifies]
    found = text_of(least, Column("", WORST))
    if not open_ones:
        return f"None of {len(tried)} methods gave anybody away to the attacks tried here"
    rest = (
        f"the attacks tried found nobody in {enumerate_words(closed)}"
        if closed
        else f"least of all {least.title}, AUC {found}"
    )
    return f"{len(open_ones)} of {len(tried)} methods give people away; {rest}"


def _lead(seen: Comparison) -> list[str]:
    who = "Rendered people who do not exist" if seen.rendered else "People on photographs"
    counts = ", ".join(f"{count} {name}" for name, count in seen.people.items())
    out = [
        f"{who}: {counts}, all different; {seen.pictures} pictures of the tested ones. Every "
        f"number compares each picture with all clear, different pictures. AUC 0.5 is chance, "
        f"noise reaches {_auc(seen.floor)}, clear faces {_auc(seen.ceiling)}. Brackets are 95 % "
        f"intervals over people; the attack and the recogniser that find most count.",
        "What no attack here found, another attack may.",
    ]
    absent = {
        one.cell.method: one.reason for one in seen.results
        if one.state == "not run" and not one.cell.key and one.cell.distance == seen.reference
    }  # fmt: skip
    titles = {row.method: row.title for row in seen.rows}
    if absent:
        names = enumerate_words([titles[name] for name in absent])
        out.append(f"Not run for want of weights or of a run: {names}.")
    failed = [one.cell.place for one in seen.results if one.state == "failed"]
    if failed:
        out.append(f"Failed, and marked so below: {enumerate_words(failed)}.")
    return out


def _auc(values: Mapping[str, float]) -> str:
    return f"{values['auc']:.3f} [{values['auc_lo']:.3f}, {values['auc_hi']:.3f}]"


def _main(seen: Comparison) -> Table:
    shown = columns(seen.rows)
    rows = []
    for row in seen.rows:
        place = f"{row.distance:g} m"
        cells = [_cell(row, column) for column in shown]
        rows.append((row.title, place, row.worst.replace("_", " ") or NOT_RUN, *cells))
    reasons: dict[str, list[str]] = {}
    for row in seen.here:
        for reason in dict.fromkeys(row.missing.values()):
            reasons.setdefault(reason, []).append(row.title)
    missing = "; ".join(f"{enumerate_words(who)}: {why}" for why, who in reasons.items())
    return Table(
        columns=("method", "distance", "strongest attack", *(column.title for column in shown)),
        rows=rows,
        note=f"Not run: {missing}." if missing else "",
        sortable=True,
        compact=True,
    )


def _cell(row: Row, column: Column) -> str:
    text = text_of(row, column)
    if text != NOT_RUN:
        return text
    failed = [n for n, why in row.missing.items() if why.startswith("failed")]
    return "failed" if any(column.key.startswith(name) for name in failed) else NOT_RUN


def _actors(rows: Sequence[Row]) -> Table:
    actors = list(ACTORS)
    return Table(
        columns=("method", *(f"{name}: {ACTORS[name]}" for name in actors)),
        rows=[(row.title, *(_by_actor(row, actor) for actor in actors)) for row in rows],
        note="Yes: the interval of the AUC lies above chance and above that of noise.",
        compact=True,
    )


def _by_actor(row: Row, actor: str) -> str:
    own = {
        name: one for name, one in row.attacks.items() if one["actor"] == actor and of_source(one)
    }
    if not own:
        return NOT_RUN
    name = max(own, key=lambda n: own[n]["result"]["auc"])
    verdict = "yes" if own[name]["identifies"] else "no"
    result = own[name]["result"]
    ends = f"{result['auc_lo']:.3f} to {result['auc_hi']:.3f}"
    return f"{verdict}, {result['auc']:.3f} [{name.replace('_', ' ')}, {ends}]"


def _budgets(seen: Comparison) -> Table:
    tried: dict[str, Mapping[str, Any]] = {}
    seconds: dict[str, list[float]] = {}
    for one in seen.results:
        if one.state == "done" and one.cell.part == "attack":
            tried.setdefault(one.cell.name, one.record)
            seconds.setdefault(one.cell.name, []).append(float(one.record["processor_seconds"]))
    return Table(
        columns=("attack", "actor", "budget", "people learned from", "mean processor time"),
        rows=[
            (
                name.replace("_", " "),
                f"{one['actor']}, {one['actor_means']}",
                ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in one["budget"].items()),
                str(seen.people["learned from"]) if "steps" in one["budget"] else "none",
                f"{sum(seconds[name]) / len(seconds[name]):.0f} s",
            )
            for name, one in tried.items()
        ],
        note=f"Pictures to learn from, to choose on and to be tested: "
        f"{_pictures(tried)}." if tried else "",
    )  # fmt: skip


def _pictures(tried: Mapping[str, Mapping[str, Any]]) -> str:
    counts = next(iter(tried.values()))["pictures"]
    return ", ".join(str(counts[name]) for name in ("learn", "tune", "test"))


def _limits(seen: Comparison) -> list[str]:
    actors = {one["actor"] for row in seen.rows for one in row.attacks.values()}
    kinds = {row.kind for row in seen.here if row.worst}
    limits = [
        "A number holds for the attackers, budgets and people named here; more steps, more "
        "pictures or another network may find more.",
    ]
    if seen.rendered:
        limits.append(
            "The people are rendered. What a recogniser of rendered faces finds says little of "
            "photographs; give data=folder data.root=... for those."
        )
    if idle := [name for name in ACTORS if name not in actors]:
        limits.append(f"No attack of {enumerate_words(idle)} was run.")
    if "camera" in kinds:
        limits.append(
            "Cameras are simulated with their noise, on axis, before a face at one distance; "
            "the mask is as designed unless its row says otherwise."
        )
    if "protection" in kinds:
        limits.append(
            "Protections are given sharp pictures without noise, and leave what is outside the "
            "face's square clear, as in use."
        )
    if "anonymizer" in kinds:
        limits.append("The anonymizer shows one output of each picture; none were averaged.")
    limits.append("One seed: differences smaller than the intervals are no differences.")
    return limits


def _judges(seen: Comparison) -> str:
    by = seen.judged_by
    pool = ", ".join(f"{name} {sha[:_SHORT]}" for name, sha in by["pool"].items())
    return (
        f"Data {by['data_sha256'][:_SHORT]}, recognisers {pool}, seed {by['seed']}. Every number "
        f"is kept under the hash of all it depends on; cells.json has them in full, each folder "
        f"below the run its records and reconstructions."
    )


def _cells(seen: Comparison) -> Table:
    rows = []
    for one in seen.results:
        cell = one.cell
        state = one.state if not one.reason else f"{one.state}: {one.reason}"
        seconds = f"{one.record['processor_seconds']:.1f}" if one.record else ""
        where = f"{cell.method}, {label(cell.distance)}"
        rows.append((where, cell.name, cell.key[:_SHORT], seconds, state))
    return Table(
        columns=("method", "tried", "SHA-256", "processor time [s]", "state"),
        rows=rows,
        folded=f"All {len(rows)} cells",
    )


def _hardware(seen: Comparison) -> Section:
    """Lay measured cameras beside those that are simulated."""
    rows = [row for row in seen.here if row.kind == "camera"]
    shown = columns(rows)
    measured = {row.title for row in rows if row.method in seen.calibrated}
    return Section(
        "Simulation and hardware",
        f"The same table with the camera swapped: {enumerate_words(sorted(measured))} has the "
        f"PSFs and the noise that a calibration measured.",
        tables=[
            Table(
                columns=("camera", "PSF", *(column.title for column in shown)),
                rows=[
                    (
                        row.title,
                        "measured" if row.method in seen.calibrated else "computed",
                        *(text_of(row, column) for column in shown),
                    )
                    for row in rows
                ],
                sortable=True,
                compact=True,
            )
        ],
    )
