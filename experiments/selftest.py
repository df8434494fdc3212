"""What a Raspberry Pi of the laboratory needs, checked one by one; each with what to do about it.

Needs no torch, and changes nothing on the machine.
"""

import importlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serial.tools import list_ports

from hardware.cameras import Camera, RaspberryBoard, RaspberryPiCamera
from hardware.errors import HardwareError

#: Longest wait for a program of the system [s].
ANSWER_WITHIN = 5.0
#: From here on a Raspberry Pi slows down [degrees Celsius].
HOT = 80.0
#: What happened since the Pi was started, by the bits of the firmware's word.
_SINCE_START = {16: "undervoltage", 17: "frequency capped", 18: "throttled", 19: "hot"}
_SYNCHRONISED = Path("run/systemd/timesync/synchronized")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What.
    ok : bool
        Whether it is as it should be.
    text : str
        What was found.
    remedy : str
        What to do where it is not.
    needed : bool
        Whether captures are impossible without it.
    numbers : mapping of str to float
        What was measured, for `metrics.json`; the unit is in the key.
    """

    name: str
    ok: bool
    text: str
    remedy: str = ""
    needed: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it is needed and not there."""
        return self.needed and not self.ok


def machine_findings(
    folder: Path, *, least_free: float, board: RaspberryBoard | None = None
) -> list[Finding]:
    """Return what the machine itself tells: numpy, disk, ports, clock, power and heat.

    Parameters
    ----------
    folder : Path
        Folder on the disk that will hold the runs.
    least_free : float
        Least room on it [bytes].
    board : RaspberryBoard, optional
        Where the files of the kernel are.
    """
    board = board or RaspberryBoard()
    return [
        _system(board),
        _numpy(),
        _disk(folder, least_free),
        _ports(board),
        _clock(board),
        *_health(board),
    ]


def camera_findings(
    index: int,
    *,
    board: RaspberryBoard | None = None,
    open_camera: Callable[[int], Camera] = lambda index: RaspberryPiCamera(index),
) -> list[Finding]:
    """Return what the camera tells: that it opens, its modes, its defect correction, a frame."""
    board = board or RaspberryBoard()
    found = [_picamera2()]
    try:
        with open_camera(index) as camera:
            info, modes = camera.info, camera.modes
            found.append(Finding("camera", True, f"{info.model}, {info.driver}", needed=True))
            names = ", ".join(f"{mode.name} ({mode.frame_rate:.3g}/s)" for mode in modes)
            found.append(Finding("modes", True, names, numbers={"count": len(modes)}))
            found.append(_defects(board.defect_correction(info.model), info.model))
            granted = camera.configure()
            exposure = max(granted.mode.min_exposure, min(0.01, granted.frame_duration))
            frame = camera.capture(exposure)
            found.append(
                Finding(
                    "frame",
                    frame.confirmed,
                    f"{frame.shape[1]} x {frame.shape[0]}, {frame.bits} bit, format "
                    f"{granted.format}, mean {frame.mosaic.mean():.0f} DN",
                    "the camera does not report its exposure; update libcamera",
                    needed=True,
                    numbers={"mean_dn": float(frame.mosaic.mean()), "clipped": frame.clipped},
                )
            )
    except HardwareError as error:
        message = str(error).removesuffix(f"; {error.hint}")
        remedy = error.hint or "look at 'rpicam-hello --list-cameras' and at the ribbon cable"
        found.append(Finding("camera", False, message, remedy, needed=True))
    return found


def _system(board: RaspberryBoard) -> Finding:
    model = _text(board.root / "proc/device-tree/model") or platform.machine()
    return Finding(
        "machine",
        "Raspberry Pi" in model,
        f"{model}, Python {platform.python_version()}",
        "this is no Raspberry Pi; its jobs run here too, with simulated devices",
    )


def _numpy() -> Finding:
    module = importlib.import_module("numpy")
    place = Path(str(module.__file__))
    system = place.is_relative_to("/usr")
    return Finding(
        "numpy",
        system,
        f"{module.__version__} from {'the system' if system else place.parents[1].name}",
        "picamera2 may need the system's: sudo apt install python3-numpy, remove .venv, ./lab pi",
    )


def _picamera2() -> Finding:
    try:
        importlib.import_module("picamera2")
    except Exception as error:  # a mismatch of numpy is a ValueError, a missing library an OSError
        reason = f"{type(error).__name__}: {error}"[:200]
        remedy = (
            "sudo apt install python3-picamera2; if it is there, .venv does not see it: remove "
            ".venv and run ./lab pi"
        )
        return Finding("picamera2", False, reason, remedy, needed=True)
    return Finding("picamera2", True, "imports", needed=True)


def _defects(state: str, model: str) -> Finding:
    return Finding(
        "defect correction",
        state == "off",
        {"unknown": "the sensor's module does not tell"}.get(state, state),
        f"it eats side lobes of a PSF; before the camera is opened: echo 0 | sudo tee "
        f"/sys/module/{model}/parameters/dpc_enable",
    )


def _disk(folder: Path, least_free: float) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        free >= least_free,
        f"{free / 1e9:.1f} GB free",
        f"{least_free / 1e9:g} GB are needed: a frame of 12 Mpx takes 25 MB; remove old runs",
        needed=True,
        numbers={"free_gb": free / 1e9},
    )


def _ports(board: RaspberryBoard) -> Finding:
    ports = sorted(port.device for port in list_ports.comports())
    locked = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    named = board.root / "dev/serial/by-id"
    names = sorted(p.name for p in named.iterdir()) if named.is_dir() else ports
    if locked:
        return Finding(
            "serial ports",
            False,
            f"no access to {', '.join(locked)}",
            'sudo usermod -a -G dialout "$USER", then log in again',
            numbers={"count": len(ports)},
        )
    return Finding(
        "serial ports",
        bool(ports),
        ", ".join(names) or "none",
        "plug in stage and light, and look for them under /dev/serial/by-id",
        numbers={"count": len(ports)},
    )


def _clock(board: RaspberryBoard) -> Finding:
    synchronised = (board.root / _SYNCHRONISED).exists() or _said(
        "timedatectl", "show", "--property=NTPSynchronized", "--value"
    ) == "yes"
    return Finding(
        "clock",
        synchronised,
        "synchronised" if synchronised else "not synchronised",
        "dates of sessions will be wrong: connect it to a network, or sudo timedatectl set-ntp "
        "true",
    )


def _health(board: RaspberryBoard) -> list[Finding]:
    told, found = board.health(), []
    temperature = told.get("processor_temperature")
    if isinstance(temperature, float):
        found.append(
            Finding(
                "temperature",
                temperature < HOT,
                f"{temperature:.1f} degrees Celsius",
                "it slows down and frames are lost: give it a fan or a heat sink",
                numbers={"celsius": temperature},
            )
        )
    now = told.get("power_trouble")
    since = _since_start(_said("vcgencmd", "get_throttled"))
    if isinstance(now, list) or since is not None:
        lasting, past = now if isinstance(now, list) else [], since or []
        text = f"now: {', '.join(lasting) or 'none'}; since start: {', '.join(past) or 'none'}"
        remedy = "frames may be late or lost: use the power supply of the Pi, and cool it"
        found.append(Finding("power trouble", not lasting and not past, text, remedy))
    return found


def _since_start(answer: str) -> list[str] | None:
    """Return what the firmware reports since the start, from "throttled=0x50000"."""
    try:
        word = int(answer.removeprefix("throttled="), 16)
    except ValueError:
        return None
    return [name for bit, name in _SINCE_START.items() if word >> bit & 1]


def _said(*command: str) -> str:
    """Return what a program of the system prints, "" where there is none."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
