"""How controls reach the sensor, and when they take effect."""

from tests.standin.controls import CONTROLS
from tests.standin.sensors import Registers, quantised

AUTO_EXPOSURE, AUTO_GAIN = 20e-3, 1.0  # [s], gain: the automatic modes know nothing better


class Wishes:
    """What the application last asked for: exposure, gain, frame duration, colour gains."""

    def __init__(self):
        self.exposure = None  # [s]; None: automatic
        self.gain = None
        self.frame_limits = (0.0, 1e9)  # [s]
        self.colour_gains = (2.0, 2.0)

    def update(self, controls):
        """Take over the controls {identity: value} of a request or of the start."""
        for identity, value in controls.items():
            if identity is CONTROLS.ExposureTime and value:
                self.exposure = value * 1e-6
            elif identity is CONTROLS.AnalogueGain and value:
                self.gain = float(value)
            elif identity is CONTROLS.ExposureTimeMode and not value:
                self.exposure = None
            elif identity is CONTROLS.AnalogueGainMode and not value:
                self.gain = None
            elif identity is CONTROLS.FrameDurationLimits:
                self.frame_limits = (value[0] * 1e-6, value[1] * 1e-6)
            elif identity is CONTROLS.ColourGains:
                self.colour_gains = (float(value[0]), float(value[1]))

    def registers(self, sensor, mode) -> Registers:
        """Return what is to be written to the sensor for these wishes."""
        exposure = AUTO_EXPOSURE if self.exposure is None else self.exposure
        gain = AUTO_GAIN if self.gain is None else self.gain
        return quantised(sensor, mode, exposure, gain, self.frame_limits)


class DelayLine:
    """Registers of a sensor, each of which takes effect some frames after it is written.

    Exposure and frame length are written at the same time. Where their delays differ, one frame
    in between has the new exposure and the old length, and cuts a longer exposure short.
    """

    def __init__(self, delays, initial: Registers):
        self._delays = delays
        self._effective = {name: getattr(initial, name) for name in delays}
        self._pending = []  # (first frame, name, value), in the order they were written

    def write(self, frame: int, registers: Registers):
        """Write at the begin of frame number `frame`."""
        for name, delay in self._delays.items():
            self._pending.append((frame + delay, name, getattr(registers, name)))

    def at(self, frame: int) -> Registers:
        """Return what frame number `frame` is exposed with; numbers must not go back."""
        for first, name, value in self._pending:
            if first <= frame:
                self._effective[name] = value
        self._pending = [entry for entry in self._pending if entry[0] > frame]
        return Registers(**self._effective)
