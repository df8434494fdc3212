"""Motion: stages behind one protocol, their drivers, and their simulated sibling.

==============================  =================================================================
`hardware.motion.base`          the rules: limits, homing, settling, stops
`hardware.motion.grbl`          GRBL 1.1 and grblHAL
`hardware.motion.apt`           Thorlabs APT and Kinesis
`hardware.motion.newport`       Newport SMC100 and CONEX
`hardware.motion.point_source`  the axis of the point source, on the firmware of this project
==============================  =================================================================
"""

from hardware.motion.apt import AptScale, AptStage
from hardware.motion.axes import Axis, Reading, StageStatus
from hardware.motion.base import Stage
from hardware.motion.grbl import GrblStage
from hardware.motion.newport import NewportStage
from hardware.motion.point_source import PointSourceStage
from hardware.motion.simulated import SimulatedStage

__all__ = [
    "AptScale",
    "AptStage",
    "Axis",
    "GrblStage",
    "NewportStage",
    "PointSourceStage",
    "Reading",
    "SimulatedStage",
    "Stage",
    "StageStatus",
]
