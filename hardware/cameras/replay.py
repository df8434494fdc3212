"""A recorded session behind the protocol of a camera, so that what was captured can be rerun."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hardware.cameras.base import (
    EXPOSURE_TOLERANCE,
    GAIN_TOLERANCE,
    Camera,
    CameraInfo,
    GrantedSettings,
    SensorMode,
)
from hardware.errors import HardwareError
from hardware.frames import RawFrame, Roi


@dataclass
class ReplayCamera(Camera):
    """Delivers the frames of a session: of each exposure asked for, in the order of recording.

    Each frame is delivered once. Its time is that of the replay, as a session may span restarts
    of the sensor's clock; the recorded one is ``metadata["recorded_timestamp"]`` [ns].

    Parameters
    ----------
    folder : Path
        Folder of the session.
    step : str
        Only frames of this step; "" takes those of all.
    """

    folder: Path
    step: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        from hardware.session.reading import Session  # which imports cameras in its turn

        super().__post_init__()
        self._session = Session.open(self.folder)
        if self.step:
            self._session.step(self.step)
        self._left = self._session.frames(step=self.step or None)
        self._delivered = -1

    @property
    def info(self) -> CameraInfo:
        """The camera that recorded the session."""
        camera = self._recorded
        return CameraInfo(
            camera["model"],
            camera["serial"],
            f"replay of {self.folder.name}",
            camera["pixel_pitch"],
            (camera["shape"][0], camera["shape"][1]),
        )

    @property
    def modes(self) -> Sequence[SensorMode]:
        """The mode of the session."""
        mode = self._recorded["mode"]
        return [SensorMode(**{**mode, "shape": tuple(mode["shape"])})]

    def _configure(self, mode: SensorMode, roi: Roi, max_exposure: float) -> GrantedSettings:
        regions = self._regions()
        if not any(_holds(region, roi) for region in regions):
            kept = "; ".join(str(region) for region in regions) or "no frames"
            raise HardwareError(
                f"{roi}: the recording {self.folder.name} does not hold it all",
                hint=f"configure with a part of what it holds: {kept}",
            )
        return GrantedSettings(
            mode,
            roi,
            self._recorded["format"],
            0,
            max(1 / mode.frame_rate, max_exposure),
            1e-6,
            self._recorded["defect_correction"],
        )

    def _expose(
        self, exposures: Sequence[float], gain: float, granted: GrantedSettings, timeout: float
    ) -> Generator[RawFrame, None, None]:
        for exposure in exposures:
            yield self._next(exposure, gain, granted.roi)

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""

    @property
    def _recorded(self) -> dict[str, Any]:
        camera: dict[str, Any] = self._session.identity["camera"]
        return camera

    def _regions(self) -> list[Roi]:
        """Return the regions that frames not delivered yet have."""
        steps = dict.fromkeys(frame.step for frame in self._left)
        return list(dict.fromkeys(self._session.history.found[step].region for step in steps))

    def _next(self, exposure: float, gain: float, roi: Roi) -> RawFrame:
        """Return the next frame of these settings, cut to `roi`."""
        for frame in self._left:
            region = self._session.history.found[frame.step].region
            fits = abs(frame.exposure - exposure) <= EXPOSURE_TOLERANCE * exposure
            if fits and abs(frame.gain - gain) <= GAIN_TOLERANCE * gain and _holds(region, roi):
                self._left.remove(frame)
                found = self._session.load(frame)
                inside = replace(roi, row=roi.row - region.row, column=roi.column - region.column)
                self._delivered = max(round(self.clock.now() * 1e9), self._delivered + 1)
                return replace(
                    found.crop(inside),
                    timestamp=self._delivered,
                    metadata={**found.metadata, "recorded_timestamp": found.timestamp},
                )
        left = sorted({one.exposure for one in self._left})
        raise HardwareError(
            f"the recording {self.folder.name} holds no further frame of exposure = "
            f"{exposure:g} s, gain = {gain:g} for {roi}",
            hint="exposures left: " + (", ".join(f"{time:g} s" for time in left) or "none"),
        )


def _holds(region: Roi, part: Roi) -> bool:
    return (
        region.row <= part.row
        and region.column <= part.column
        and part.row + part.height <= region.row + region.height
        and part.column + part.width <= region.column + region.width
    )
