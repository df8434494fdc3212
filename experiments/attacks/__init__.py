"""Attacks on what is done to hide a face, all with one protocol.

- `defence`: what is attacked: a camera, a protection, nothing (the ceiling), noise (the floor)
- `dynamic`: cameras with another mask for every shot
- `trial`: people, recognisers, numbers and the report that every attack shares
- `recognising`: public recognisers as they are; protected pictures enrolled and linked
- `learning`: recognisers fine-tuned or trained from scratch on what is shown
- `deconvolving`: Wiener, Richardson-Lucy and ADMM-TV, with PSFs exact, nearly known and unknown
- `denoising`: the lens undone in turns with a trained denoiser
- `prior`: the likeliest face of a model of faces, given what was measured
- `restoring`: a network that learns to bring faces back
- `keys`: wrong keys, and searching for one
- `pairs`: the inverse of a key, learned from known originals
- `features`: feature maps read and put back in order
- `references`: people who lent their looks, recognised in what wears them

People are divided 60 / 20 / 20 into those an attack learns from, chooses on and is measured on.
A new attack is a class here and a file in ``configs/attack``.
"""

from experiments.attacks.deconvolving import AdmmTv, RichardsonLucy, Wiener
from experiments.attacks.defence import (
    Blank,
    CameraDefence,
    Clear,
    Defence,
    Faces,
    ProtectionDefence,
)
from experiments.attacks.denoising import PlugAndPlay
from experiments.attacks.dynamic import MirrorFamily, PerShotCamera
from experiments.attacks.features import FeatureMaps
from experiments.attacks.keys import WrongKey
from experiments.attacks.learning import FineTuned, FromScratch
from experiments.attacks.pairs import KnownPairs
from experiments.attacks.prior import GenerativePrior
from experiments.attacks.recognising import OffTheShelf, Parrot
from experiments.attacks.references import ReferenceMembership
from experiments.attacks.restoring import LearnedInversion
from experiments.attacks.trial import ACTORS, Attack, Outcome, Trial, report

__all__ = [
    "ACTORS",
    "AdmmTv",
    "Attack",
    "Blank",
    "CameraDefence",
    "Clear",
    "Defence",
    "Faces",
    "FeatureMaps",
    "FineTuned",
    "FromScratch",
    "GenerativePrior",
    "KnownPairs",
    "LearnedInversion",
    "MirrorFamily",
    "OffTheShelf",
    "Outcome",
    "Parrot",
    "PerShotCamera",
    "PlugAndPlay",
    "ProtectionDefence",
    "ReferenceMembership",
    "RichardsonLucy",
    "Trial",
    "Wiener",
    "WrongKey",
    "report",
]
