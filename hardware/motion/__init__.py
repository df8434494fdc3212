"""Motion: stages behind one protocol, and their simulated sibling."""

from hardware.motion.base import Axis, Reading, Stage, StageStatus
from hardware.motion.simulated import SimulatedStage

__all__ = ["Axis", "Reading", "SimulatedStage", "Stage", "StageStatus"]
