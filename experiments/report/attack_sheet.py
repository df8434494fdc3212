"""The page of a suite of attacks: what each found, and what it brought back."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.attacks.trial import ACTORS, Trial, of_source
from experiments.report.drawing import (
    INK,
    QUIET,
    Drawing,
    bare,
    house_style,
    new_figure,
    to_display,
)
from experiments.report.figures_attacks import success_curves
from experiments.report.sheet import Section, Sheet, Table

_TILE = 1.25  # side of a face [in]
_ABREAST = 8  # faces in a row of the picture wall

Found = Mapping[str, Mapping[str, Any]]


@torch.no_grad()
def wall(trial: Trial) -> dict[str, Tensor]:
    """Return the pictures `trial.shown` (n, 3, S, S), clear and as the defence shows them."""
    faces = trial.faces(trial.held, trial.shown, 1)
    clear = faces.scenes.light.cpu()
    return {"original": clear, "shown": trial.defence.show(faces).clamp(0, 1).cpu()}


def attack_sheet(defence: str, found: Found, pictures: Mapping[str, Tensor]) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    defence : str
        What was attacked.
    found : mapping
        What `attack.json` holds, by attack.
    pictures : mapping of str to Tensor
        Faces (n, 3, S, S) in linear light, the same people in each, by the title of their row.
    """
    tried = {name: one for name, one in found.items() if one["result"] is not None}
    first = next(iter(found.values()))
    lead = [
        f"Test people: {(first['result'] and first['result']['n_people']) or 'none'}; "
        "every number compares each picture with all clear, different pictures of the test people "
        "(parrot: with what is shown of them). AUC 0.5 is chance. Intervals are 95 %, over people.",
        "What no attack here found, another attack may.",
    ]
    headline = f"{defence}: no attack of the suite applies"
    if own := [n for n, one in tried.items() if of_source(one)]:
        name = max(own, key=lambda n: tried[n]["result"]["auc"])
        worst = tried[name]
        headline = f"{defence}: {name} finds most, AUC {_interval(worst['result'])}"
        actors = sorted({one["actor"] for one in tried.values()})
        lead.append(
            f"Strongest actor tried: {actors[-1]}, who {ACTORS[actors[-1]]}. Tried were "
            f"{', '.join(actors)}."
        )
    table = Table(
        columns=("attack", "actor", "condition", "AUC", "rank 1 (chance)", "budget"),
        rows=[
            _bound("noise (floor)", first["floor"]),
            *(_row(name, one) for name, one in found.items()),
            _bound("clear (ceiling)", first["ceiling"]),
        ],
        note="Of each attack the condition under which it finds most.",
    )
    with house_style():
        drawing = Drawing(
            "reconstructions",
            _faces(pictures),
            alt=f"Rows of the same test people: {', '.join(pictures)}.".replace("\n", " "),
            caption="The same test people in every row. Reconstructions as sRGB.",
            photographic=True,
            full=True,
        )
    curves = [
        drawn
        for name, one in tried.items()
        if "exposures_e" in one["budget"]
        and isinstance(drawn := success_curves({name: one["conditions"]}), Drawing)
    ]
    every = Table(
        columns=("attack", "condition", "AUC", "recognisers"),
        rows=[
            (name, condition, _interval(values), _by(values))
            for name, one in tried.items()
            for condition, values in one["conditions"].items()
        ],
    )
    return Sheet(
        headline,
        lead,
        [
            Section("What was found", "", curves, [table]),
            Section("What was brought back", "", [drawing]),
            Section("Every condition", "", tables=[every]),
        ],
    )


def _row(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    budget = ", ".join(f"{key} {value}" for key, value in one["budget"].items())
    if one["result"] is None:
        return name, one["actor"], "not run", one["reason"], "", budget
    result = one["result"]
    return name, one["actor"], one["worst_condition"], _interval(result), _rank(result), budget


def _bound(name: str, values: Mapping[str, float]) -> tuple[str, ...]:
    return name, "", "", _interval(values), _rank(values), ""


def _rank(values: Mapping[str, float]) -> str:
    return f"{values['rank1']:.3f} ({values['rank1_chance']:.3f})"


def _interval(values: Mapping[str, float]) -> str:
    return f"{values['auc']:.3f} [{values['auc_lo']:.3f}, {values['auc_hi']:.3f}]"


def _by(values: Mapping[str, float]) -> str:
    prefix = "auc_by_"
    named = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
    return ", ".join(f"{name} {value:.3f}" for name, value in named.items())


def _faces(rows: Mapping[str, Tensor]) -> Figure:
    count = min(_ABREAST, *(len(faces) for faces in rows.values()))
    figure = new_figure(_TILE * count + 1.6, _TILE * len(rows), pad=0.03)
    sheet = figure.subplots(len(rows), count, squeeze=False)
    for i, (title, faces) in enumerate(rows.items()):
        for j in range(count):
            sheet[i][j].imshow(to_display(faces[j].numpy()))
            bare(sheet[i][j])
        sheet[i][0].set_ylabel(
            title, color=INK if i else QUIET, fontsize=8, rotation=0, ha="right", va="center"
        )
    return figure
