"""Lights behind one protocol, and their simulated sibling."""

from hardware.lights.base import Channel, Light

__all__ = ["Channel", "Light"]
