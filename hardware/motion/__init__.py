"""Motion: stages behind one protocol, and their simulated sibling."""

from hardware.motion.axes import Axis, Reading, StageStatus
from hardware.motion.base import Stage
from hardware.motion.simulated import SimulatedStage

__all__ = ["Axis", "Reading", "SimulatedStage", "Stage", "StageStatus"]
