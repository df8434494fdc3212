"""Capture sessions: a plan of frames, taken so that an interruption costs one frame at most.

==============  =================================================================================
`plan`          steps as plain data: positions, lights, exposures
`plans`         plans for PSF stacks, darks, flats, photon transfer and single captures
`checking`      whether a rig can do what a plan asks
`estimating`    frames, time and disk it takes
`runner`        taking it, and going on after any break
`searching`     the spot, and the exposure that uses the sensor's range
`identity`      whether it is still the same rig, and the same light
`journal`       one line per event, forced to the disk
`frames`        one TIFF and one JSON file per frame
`history`       what a journal adds up to
`reading`       a session on disk, for those who evaluate it
==============  =================================================================================
"""

from hardware.session.checking import check_plan, chosen_mode
from hardware.session.estimating import Estimate, estimate
from hardware.session.history import History, Recorded
from hardware.session.identity import SessionChanged
from hardware.session.plan import AutoExposure, Found, Plan, Spot, Step
from hardware.session.reading import Session
from hardware.session.runner import run_session

__all__ = [
    "AutoExposure",
    "Estimate",
    "Found",
    "History",
    "Plan",
    "Recorded",
    "Session",
    "SessionChanged",
    "Spot",
    "Step",
    "check_plan",
    "chosen_mode",
    "estimate",
    "run_session",
]
