"""A sensor that is not there, looking at any scene that can say how many electrons it frees."""

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hardware.cameras.base import Camera, CameraInfo, GrantedSettings, SensorMode
from hardware.frames import RawFrame, Roi, shifted_cfa

#: Electrons per second in each pixel of a region of the full frame [e-/s].
Scene = Callable[[Roi], NDArray[np.floating]]


@dataclass(frozen=True)
class SensorNoise:
    """What a sensor does to photo-electrons, as in EMVA 1288; defaults are an IMX477 at 12 bit.

    Attributes
    ----------
    system_gain : float
        Overall gain at analogue gain 1 [DN/e-].
    full_well : float
        Electrons at saturation [e-].
    read_noise : float
        Dark temporal noise [e- rms].
    dark_current : float
        Mean dark current [e-/s].
    dsnu : float
        Spread of the offsets of the pixels [e- rms].
    prnu : float
        Spread of the sensitivities of the pixels.
    black_level : float
        Offset added before digitising [DN].
    """

    system_gain: float = 0.47
    full_well: float = 8180.0
    read_noise: float = 3.0
    dark_current: float = 0.0
    dsnu: float = 0.0
    prnu: float = 0.0
    black_level: float = 256.0

    def __post_init__(self) -> None:
        if not (self.system_gain > 0 and self.full_well > 0):
            raise ValueError(
                f"system_gain = {self.system_gain:g} DN/e-, full_well = {self.full_well:g} e-: "
                "positive numbers are needed"
            )
        rest = (self.read_noise, self.dark_current, self.dsnu, self.prnu, self.black_level)
        if not all(math.isfinite(value) and value >= 0 for value in rest):
            raise ValueError(f"{self}: finite numbers, zero or more, are needed")


IMX477 = SensorMode("4056x3040-12", (3040, 4056), 12, "RGGB", 1.55e-6, 60e-6, 200.0, 22.26, 10.0)


@dataclass
class SimulatedCamera(Camera):
    """A sensor in front of a scene.

    Attributes
    ----------
    scene : callable
        Takes a `Roi` and returns the electrons per second of its pixels (H, W) [e-/s], now.
    mode : SensorMode
        The one mode of the sensor.
    noise : SensorNoise
        What the sensor does.
    delay : int
        Frames until a new exposure arrives, as with a real sensor.
    seed : int
        Which individual sensor it is: seed of the fixed pattern.
    noise_seed : int or None
        Seed of the temporal noise; None is new noise each time, as a session that is resumed must
        not see the noise of its first frames again.
    """

    scene: Scene
    mode: SensorMode = IMX477
    noise: SensorNoise = field(default_factory=SensorNoise)
    delay: int = 2
    seed: int = 0
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._temporal = np.random.default_rng(self.noise_seed)
        self._line = deque([(self.mode.min_exposure, 1.0)] * self.delay)

    @property
    def info(self) -> CameraInfo:
        """A sensor of this seed."""
        return CameraInfo(
            "simulated", str(self.seed), "simulated", self.mode.pixel_pitch, self.mode.shape
        )

    @property
    def modes(self) -> Sequence[SensorMode]:
        """The one mode."""
        return [self.mode]

    def _configure(self, mode: SensorMode, roi: Roi, max_exposure: float) -> GrantedSettings:
        duration = max(1 / mode.frame_rate, max_exposure)
        return GrantedSettings(mode, roi, "SRGGB16", 0, duration, 1e-6, defect_correction="off")

    def _expose(
        self, exposures: Sequence[float], gain: float, granted: GrantedSettings, timeout: float
    ) -> Generator[RawFrame, None, None]:
        for number in range(len(exposures) + self.delay):
            self._line.append((exposures[min(number, len(exposures) - 1)], gain))
            yield self._frame(*self._line.popleft(), granted)

    def close(self) -> None:
        """Do nothing: there is no sensor to release."""

    @cached_property
    def _pattern(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sensitivity and offset [e-] of every pixel of the sensor."""
        fixed = np.random.default_rng([self.seed, 0])
        draws = fixed.standard_normal((2, *self.mode.shape), dtype=np.float32)
        return 1 + np.float32(self.noise.prnu) * draws[0], np.float32(self.noise.dsnu) * draws[1]

    def _frame(self, exposure: float, gain: float, granted: GrantedSettings) -> RawFrame:
        self.clock.sleep(granted.frame_duration)
        noise, roi = self.noise, granted.roi
        rate = np.asarray(self.scene(roi), dtype=np.float64)
        if rate.shape != (roi.height, roi.width):
            raise ValueError(f"scene gave {rate.shape} for a region of {roi.height}, {roi.width}")
        offset: NDArray[np.float32] | float = 0.0
        if noise.prnu or noise.dsnu:
            sensitivity, offset = (part[roi.slices] for part in self._pattern)
            rate = rate * sensitivity
        mean = np.clip((rate + noise.dark_current) * exposure, 0.0, 1e9)
        charge = np.minimum(self._temporal.poisson(mean), noise.full_well) + offset
        charge += noise.read_noise * self._temporal.standard_normal(charge.shape)
        white = 2**granted.mode.bits - 1
        values = np.rint(charge * (noise.system_gain * gain) + noise.black_level).clip(0, white)
        return RawFrame(
            values.astype(np.uint16),
            shifted_cfa(granted.mode.cfa, roi.row, roi.column),
            granted.mode.bits,
            (noise.black_level,) * 4,
            float(white),
            exposure,
            gain,
            timestamp=round(self.clock.now() * 1e9),
            asked_exposure=exposure,
            asked_gain=gain,
            origin=(roi.row, roi.column),
            metadata={"sensor_temperature": 25.0},
        )
