"""The digital twin: a camera's parameters from the PSF stack that it showed.

parameters.py   names, units, what is known beforehand, and the gauges that are fixed
pupil.py        the wave behind mask and lens     frame.py    from there to points on the sensor
light.py        energy on the pixels, and its slopes
rates.py        the mosaic of a stack             starts.py   direction, focus and place to begin
solve.py        variance-weighted least squares   problem.py    a stack as such a problem
posterior.py    what is known, and what is not    fit.py        all of it: `fit_twin`
"""

from calibration.twin.fit import TwinFit, fit_twin, twin_camera
from calibration.twin.parameters import (
    Parameter,
    Parameters,
    camera_parameters,
    expected_values,
    known,
)
from calibration.twin.posterior import Posterior

__all__ = [
    "Parameter",
    "Parameters",
    "Posterior",
    "TwinFit",
    "camera_parameters",
    "expected_values",
    "fit_twin",
    "known",
    "twin_camera",
]
