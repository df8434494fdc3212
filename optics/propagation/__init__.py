"""Propagation of scalar fields.

focal.py   pupil -> sensor, at exactly the points asked for
lines.py   one axis of that transform: chirp-z or matrix, with its adjoint
phasor.py  exp(i phase)
"""

from optics.propagation.focal import relief_spots, to_sensor
from optics.propagation.phasor import cis

__all__ = ["cis", "relief_spots", "to_sensor"]
