"""Propagation of scalar fields.

focal.py   pupil -> sensor, at exactly the points asked for
spots.py   height map -> intensities there, with its gradient by hand
planes.py  the transform of whole planes, and its adjoint
lines.py   one axis of it: chirp-z or matrix
folded.py  both axes by real matrices: the fastest way for one distance on a CPU
hankel.py  pupil -> sensor in one dimension, for rotationally symmetric pupils
phasor.py  exp(i phase)

free_space.py  between parallel planes: band-limited angular spectrum, cached kernel
convolution.py pad, transform, multiply, crop, with the adjoint
fresnel.py     the same in the paraxial approximation, three forms
direct.py      Rayleigh-Sommerfeld sum, the reference
sampling.py    the guard: padding, kernel, refusals, each with its reason
relay.py       4f relay, lensless camera
"""

from optics.propagation.direct import rayleigh_sommerfeld
from optics.propagation.focal import relief_spots, to_sensor
from optics.propagation.free_space import (
    FreeSpace,
    propagate,
    propagate_to_points,
    transfer_function,
)
from optics.propagation.fresnel import (
    fresnel,
    fresnel_impulse,
    fresnel_to_points,
    fresnel_transfer,
)
from optics.propagation.hankel import radial_nodes, radial_spots
from optics.propagation.phasor import cis, cis_turns
from optics.propagation.relay import Relay, lensless_psf
from optics.propagation.sampling import Decision, SamplingError, plan_fresnel, plan_propagation

__all__ = [
    "Decision",
    "FreeSpace",
    "Relay",
    "SamplingError",
    "cis",
    "cis_turns",
    "fresnel",
    "fresnel_impulse",
    "fresnel_to_points",
    "fresnel_transfer",
    "lensless_psf",
    "plan_fresnel",
    "plan_propagation",
    "propagate",
    "propagate_to_points",
    "radial_nodes",
    "radial_spots",
    "rayleigh_sommerfeld",
    "relief_spots",
    "to_sensor",
    "transfer_function",
]
