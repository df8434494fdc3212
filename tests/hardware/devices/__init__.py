"""Controllers that are not there, each behind a pseudo-terminal, with faults to switch on."""

from tests.hardware.devices.apt import AptDevice
from tests.hardware.devices.grbl import GrblDevice
from tests.hardware.devices.newport import NewportDevice
from tests.hardware.devices.point_source import PointSourceDevice
from tests.hardware.devices.terminal import ScriptedDevice, TerminalDevice

__all__ = [
    "AptDevice",
    "GrblDevice",
    "NewportDevice",
    "PointSourceDevice",
    "ScriptedDevice",
    "TerminalDevice",
]
