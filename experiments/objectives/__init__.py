"""What a co-design run minimises: a named list of weighted terms.

terms.py      the terms and what they may see
objective.py  their sum
"""

from experiments.objectives.objective import Objective
from experiments.objectives.terms import (
    HeatmapTerm,
    IdentityTerm,
    InversionTerm,
    ManufacturabilityTerm,
    MaskView,
    ReferencePsfTerm,
    RegionMaskTerm,
    ScenePower,
    SimilarityTerm,
    StepView,
    Term,
)

__all__ = [
    "HeatmapTerm",
    "IdentityTerm",
    "InversionTerm",
    "ManufacturabilityTerm",
    "MaskView",
    "Objective",
    "ReferencePsfTerm",
    "RegionMaskTerm",
    "ScenePower",
    "SimilarityTerm",
    "StepView",
    "Term",
]
