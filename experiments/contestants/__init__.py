"""What is compared: each way to hide a face, opened as a defence at a distance.

- `contestant`: what every contestant can be asked for
- `cameras`: cameras of a co-design run, as designed, as made, as calibrated
- `anonymized`: the anonymizer behind such a camera
- `per_shot`: such cameras with another mask for every shot, less light, larger pixels
- `photographs`: protections of photographs that were already taken

A new contestant is a class here and a file in ``configs/contestant``.
"""

from experiments.contestants.anonymized import AnonymizedCamera, AnonymizedDefence
from experiments.contestants.cameras import DesignedCamera
from experiments.contestants.contestant import Absent, Contestant, Place
from experiments.contestants.per_shot import AlteredCamera, RandomMaskCamera
from experiments.contestants.photographs import ProtectedPhotograph

__all__ = [
    "Absent",
    "AlteredCamera",
    "AnonymizedCamera",
    "AnonymizedDefence",
    "Contestant",
    "DesignedCamera",
    "Place",
    "ProtectedPhotograph",
    "RandomMaskCamera",
]
