"""A scene for the simulated camera: a point source out of focus, and a panel that lights all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.frames import Roi
from hardware.lights.base import Light
from hardware.motion.base import Stage


@dataclass
class SpotScene:
    """A Gaussian spot whose width follows an axis, as it does near the focus.

    Attributes
    ----------
    stages, lights : mapping
        Devices of the rig by name; where they stand and how bright they are is what is seen.
    centre : tuple of float
        Row and column of the spot in the full frame [pixels].
    axis : str
        Axis that the width depends on.
    focus : float
        Where the spot is sharpest [m].
    width : float
        Standard deviation of the spot there [pixels].
    slope : float
        Growth of the width with the distance from the focus [pixels/m].
    point, panel : str
        Channels of the point source and of the panel.
    point_rate : float
        Electrons per second in the whole spot at full level [e-/s].
    panel_rate : float
        Electrons per second and pixel at full level [e-/s].
    """

    stages: Mapping[str, Stage]
    lights: Mapping[str, Light]
    centre: tuple[float, float]
    axis: str = "z"
    focus: float = 0.1
    width: float = 2.0
    slope: float = 40.0
    point: str = "point"
    panel: str = "panel"
    point_rate: float = 2e7
    panel_rate: float = 2e5

    def __call__(self, roi: Roi) -> NDArray[np.float64]:
        """Return the electrons per second of the pixels of `roi` (H, W), now [e-/s]."""
        levels = {n: v for light in self.lights.values() for n, v in light.state.items()}
        places = {n: v for stage in self.stages.values() for n, v in _stands(stage).items()}
        width = self.width
        if self.axis in places:
            width = float(np.hypot(width, self.slope * (places[self.axis] - self.focus)))
        rows = np.arange(roi.row, roi.row + roi.height) - self.centre[0]
        columns = np.arange(roi.column, roi.column + roi.width) - self.centre[1]
        profile = [np.exp(-0.5 * (side / width) ** 2) for side in (rows, columns)]
        spot = np.outer(*profile) / (2 * np.pi * width**2)
        rate: NDArray[np.float64] = self.point_rate * levels.get(self.point, 0.0) * spot
        return rate + self.panel_rate * levels.get(self.panel, 0.0)


def _stands(stage: Stage) -> Mapping[str, float]:
    return stage.status().position
