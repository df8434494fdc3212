"""The laboratory: cameras, stages, lights, capture sessions, and files that masks are made from.

Loads with numpy and pyserial alone; anything else is imported inside the module that uses it.

===========================  =====================================================================
`hardware.cameras`           raw frames from a Raspberry Pi camera, a recorded session, a simulation
`hardware.motion`            stages: limits, homing, emergency stop
`hardware.lights`            point sources and panels that end dark
`hardware.modulators`        spatial light modulators and deformable mirrors
`hardware.rig`               one camera with everything around it
`hardware.safety`            one stop for all of it
`hardware.agent`             the process that owns a rig, its live page, and the rig from afar
`hardware.web`                what pages are served by
`hardware.dng`               a frame for other programs
`hardware.session`           captures that any interruption costs one frame at most
`hardware.storage`           files that are written whole or not at all
`hardware.fabrication`       files that makers of masks take
===========================  =====================================================================
"""

from hardware.errors import HardwareError
from hardware.frames import RawFrame, Roi
from hardware.rig import Rig

__all__ = ["HardwareError", "RawFrame", "Rig", "Roi"]
