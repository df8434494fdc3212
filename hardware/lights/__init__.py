"""Lights behind one protocol, and their simulated sibling."""

from hardware.lights.base import Channel, Light
from hardware.lights.point_source import PointSourceLight
from hardware.lights.simulated import SimulatedLight

__all__ = ["Channel", "Light", "PointSourceLight", "SimulatedLight"]
