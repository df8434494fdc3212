"""What a Raspberry Pi tells about itself: who holds the camera, its sensor's module, its health.

All of it is read from the kernel's own files, by anybody, without asking the camera.
"""

import os
from dataclasses import dataclass
from pathlib import Path

#: Sensors whose kernel module has another name.
_MODULES = {"imx378": "imx477"}
#: Bits of the firmware's word on power and heat, as it is now.
_TROUBLE = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "hot"}


@dataclass(frozen=True)
class RaspberryBoard:
    """The board, seen through the files of its kernel.

    Attributes
    ----------
    root : Path
        Where ``sys``, ``proc`` and ``dev`` are; another folder in tests.
    """

    root: Path = Path("/")

    def defect_correction(self, model: str) -> str:
        """Return whether sensor `model` replaces pixels it takes for defective.

        Returns
        -------
        str
            "on", "off", or "unknown" where the sensor's module does not tell. It is set before the
            camera is opened, as root: ``echo 0 > /sys/module/imx477/parameters/dpc_enable``.
        """
        name = _MODULES.get(model, model)
        text = self._read(f"sys/module/{name}/parameters/dpc_enable")
        return {"0": "off", "N": "off", "1": "on", "Y": "on"}.get(text, "unknown")

    def camera_owner(self) -> str:
        """Return name and number of a process that locks a camera, or "" if none is seen.

        libcamera locks the media device of a camera that is in use; other programs, such as a
        sound and video server, may have it open without a lock.
        """
        places = set()
        for device in (self.root / "dev").glob("media*"):
            status = device.stat()
            major, minor = os.major(status.st_dev), os.minor(status.st_dev)
            places.add(f"{major:02x}:{minor:02x}:{status.st_ino}")
        for line in self._read("proc/locks").splitlines():
            words = line.split()
            if len(words) > 5 and words[5] in places and words[4] != str(os.getpid()):
                name = self._read(f"proc/{words[4]}/comm") or "process"
                return f"{name} ({words[4]})"
        return ""

    def health(self) -> dict[str, float | list[str]]:
        """Return ``processor_temperature`` [degrees Celsius] and ``power_trouble``, where told.

        The latter lists what lasts now, such as "undervoltage" and "throttled"; frames taken
        meanwhile may be late or lost.
        """
        told: dict[str, float | list[str]] = {}
        if temperature := self._read("sys/class/thermal/thermal_zone0/temp"):
            told["processor_temperature"] = int(temperature) / 1000
        for file in self.root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
            word = int(self._read(file.relative_to(self.root)) or "0", 16)
            told["power_trouble"] = [name for bit, name in _TROUBLE.items() if word >> bit & 1]
        return told

    def _read(self, name: str | Path) -> str:
        try:
            return (self.root / name).read_text().strip()
        except OSError:
            return ""
