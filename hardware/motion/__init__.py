"""Motion: stages behind one protocol, and their simulated sibling."""

from hardware.motion.base import Axis, Reading, Stage, StageStatus

__all__ = ["Axis", "Reading", "Stage", "StageStatus"]
