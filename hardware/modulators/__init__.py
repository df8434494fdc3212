"""Modulators behind one protocol, and their simulated siblings.

===================================  ============================================================
`hardware.modulators.base`           what all have in common: `show`, `blank`, `close`
`hardware.modulators.panel`          liquid crystal: `response` (greys, phases), `correction`
`hardware.modulators.slm`            such a panel as a second screen (`ScreenSlm`)
`hardware.modulators.screen`         pictures on a screen, to the pixel (`Screen`)
`hardware.modulators.display`        screen and browser meet here; `page_server`: over HTTP
`hardware.modulators.mirror`         deformable mirrors; `serial_mirror`: on an open protocol
`hardware.modulators.simulated`      a panel and a mirror that are not there
===================================  ============================================================

`Screen` and `ScreenSlm` are imported from their modules: they share the token with the agent,
which itself knows modulators.
"""

from hardware.modulators.base import PhaseModulator
from hardware.modulators.mirror import DeformableMirror, MirrorState
from hardware.modulators.panel import LiquidCrystal
from hardware.modulators.response import Response
from hardware.modulators.serial_mirror import SerialMirror
from hardware.modulators.simulated import SimulatedMirror, SimulatedSlm

__all__ = [
    "DeformableMirror",
    "LiquidCrystal",
    "MirrorState",
    "PhaseModulator",
    "Response",
    "SerialMirror",
    "SimulatedMirror",
    "SimulatedSlm",
]
