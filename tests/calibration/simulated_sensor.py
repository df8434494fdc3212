"""A linear sensor in a few lines of numpy: Poisson charge, well, read noise, rounding."""

from dataclasses import dataclass, field

import numpy as np

from calibration.noise.levels import level_of


@dataclass
class SimulatedSensor:
    """Units as in optics.Sensor: [DN/e-], [e-], [DN], [e-/s]; one colour plane."""

    system_gain: float = 0.47
    read_noise: float = 3.0
    black_level: float = 256.0
    full_well: float = 8180.0
    bits: int = 12
    prnu: float = 0.0
    dsnu: float = 0.0
    row_noise: float = 0.0
    dark_current: float = 0.0
    clamped: bool = False  # the camera takes the mean dark signal off
    flicker: float = 0.0  # of the light, from frame to frame
    gradient: float = 0.0  # of the light, from the left to the right edge
    seed: int = 0
    shape: tuple[int, int] = (160, 144)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.gains = 1 + self.prnu * self.rng.normal(size=self.shape)
        self.offsets = self.dsnu * self.rng.normal(size=self.shape)
        self.light = 1 + self.gradient * np.linspace(-0.5, 0.5, self.shape[1])

    @property
    def top(self):
        """Charge at which the well or the converter saturates [e-]."""
        return min(self.full_well, (2**self.bits - 1 - self.black_level) / self.system_gain)

    def charge(self, electrons, exposure=1e-3):
        """Charge with noise, before gain and rounding [e-]."""
        light = electrons * self.light * self.gains
        if self.flicker:
            light = light * (1 + self.flicker * self.rng.normal())
        dark = self.dark_current * exposure
        charge = self.rng.poisson(np.broadcast_to(light + dark, self.shape)).astype(float)
        charge = np.minimum(charge, self.full_well) - dark * self.clamped
        charge += self.offsets + self.read_noise * self.rng.normal(size=self.shape)
        return charge + self.row_noise * self.rng.normal(size=(self.shape[0], 1))

    def digitised(self, charge):
        value = np.rint(charge * self.system_gain + self.black_level)
        return value.clip(0, 2**self.bits - 1).astype(np.uint16)

    def frame(self, electrons=0.0, exposure=1e-3):
        return self.digitised(self.charge(electrons, exposure))

    def frames(self, count, electrons=0.0, exposure=1e-3):
        return np.stack([self.frame(electrons, exposure) for _ in range(count)])

    def level(self, electrons=0.0, *, exposure=1e-3, count=2):
        frames = self.frames(count, electrons, exposure)
        return level_of(frames, exposure=exposure, light=float(electrons))

    def session(self, shares, *, count=2):
        """Bright levels at these shares of saturation, and one dark."""
        return [self.level(s * self.top, count=count) for s in shares], [self.level(count=count)]
