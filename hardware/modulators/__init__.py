"""Modulators behind one protocol, and their simulated sibling."""

from hardware.modulators.base import PhaseModulator

__all__ = ["PhaseModulator"]
