"""Recipes: what is minimised at which step."""

from types import SimpleNamespace

import pytest
import torch

from anonymizer.stargan.recipe import Recipe, StyleKind
from anonymizer.stargan.terms import Judges, Term
from anonymizer.stargan.terms_veilens import SpreadTerm

PASSES = {"one": StyleKind("latent"), "other": StyleKind("latent")}


class Asked(Term):
    """Two, and a note of the steps at which it was asked."""

    def __init__(self, *, weight):
        super().__init__(weight=weight, passes=("one",))
        self.steps = []

    def forward(self, view):
        self.steps.append(view.step)
        return torch.tensor(2.0)


def at(step):
    return SimpleNamespace(step=step, judges=Judges(None, None))


def test_a_term_with_a_ramp_comes_in_late_and_is_not_computed_before():
    early, late = Asked(weight=1.0), Asked(weight=3.0)
    recipe = Recipe(PASSES, {"early": early, "late": late}, steps=100, ramps={"late": (0.2, 0.6)})
    found = {step: recipe.generator_terms(at(step)) for step in (0, 20, 30, 60, 99)}
    assert [float(terms["early"]) for terms in found.values()] == [2.0] * 5
    assert {s: float(terms.get("late", 0.0)) for s, terms in found.items()} == pytest.approx(
        {0: 0.0, 20: 0.0, 30: 1.5, 60: 6.0, 99: 6.0}
    )
    assert late.steps == [30, 60, 99]


@pytest.mark.parametrize(
    ("ramps", "message"),
    [
        ({"absent": (0.0, 0.5)}, "ramps names absent, expected some of early"),
        ({"early": (0.5, 0.2)}, r"ramps.early = \[0.5, 0.2\]: two shares"),
        ({"early": (0.2,)}, r"ramps.early = \[0.2\]"),
    ],
)
def test_a_ramp_that_cannot_be_meant_is_refused(ramps, message):
    with pytest.raises(ValueError, match=message):
        Recipe(PASSES, {"early": Asked(weight=1.0)}, steps=10, ramps=ramps)


def test_a_fine_pattern_does_not_count_as_another_face():
    grey = torch.zeros(2, 3, 12, 16)
    pattern = 1 - 2 * (torch.arange(16) % 2).expand_as(grey).float()
    passes = {name: SimpleNamespace(output=grey, twin=None) for name in PASSES}
    term = SpreadTerm(weight=1.0, passes=("one", "other"), limit=0.2)
    passes["other"].output = 0.5 * pattern
    assert float(term(SimpleNamespace(passes=passes))) == pytest.approx(0.2)
    passes["other"].output = grey + 0.15
    assert float(term(SimpleNamespace(passes=passes))) == pytest.approx(0.05)


def test_a_face_should_differ_from_its_twin():
    grey = torch.zeros(2, 3, 12, 16)
    passes = {name: SimpleNamespace(output=grey, twin=None) for name in PASSES}
    passes["one"].output = grey + 0.3
    term = SpreadTerm(weight=1.0, passes=("one", "other"), limit=0.2)
    assert float(term(SimpleNamespace(passes=passes))) == 0.0
    passes["other"].twin = grey + 0.1
    assert float(term(SimpleNamespace(passes=passes))) == pytest.approx(0.05)  # of two pairs
