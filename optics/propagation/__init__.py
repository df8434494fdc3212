"""Propagation of scalar fields.

focal.py   pupil -> sensor, at exactly the points asked for
phasor.py  exp(i phase)
"""

from optics.propagation.focal import to_sensor
from optics.propagation.phasor import cis

__all__ = ["cis", "to_sensor"]
