"""What a camera says about itself: its controls with their limits, and its properties."""

from tests.standin.controls import (
    CONTROLS,
    DRAFT,
    DRAFT_PROPERTIES,
    PROPERTIES,
    AeStateEnum,
    ColorFilterArrangementEnum,
    ControlInfo,
)
from tests.standin.geometry import Rectangle, Size


def _microseconds(seconds):
    """Return whole microseconds, cut as libcamera cuts them (but not for a rounding error)."""
    return int(seconds * 1e6 + 1e-6)


def controls_of(sensor, mode):
    """Return the controls {identity: ControlInfo} of a sensor in a mode.

    Controls of colour are absent from a monochrome sensor, so that setting them fails.
    """
    whole = sensor.max_frame << sensor.max_shift
    shortest = _microseconds(mode.frame_lines * mode.line_time)
    longest = _microseconds(whole * mode.line_time)
    exposure = _microseconds(sensor.exposure(mode, sensor.min_lines))
    longest_exposure = _microseconds(sensor.exposure(mode, whole - sensor.margin))
    crop = Rectangle(*mode.crop)
    info = {
        CONTROLS.AeEnable: ControlInfo(False, True, True),
        CONTROLS.AnalogueGain: ControlInfo(1.0, sensor.gain_of(sensor.max_code), 1.0),
        CONTROLS.AnalogueGainMode: ControlInfo(0, 1, 0),
        CONTROLS.Brightness: ControlInfo(-1.0, 1.0, 0.0),
        CONTROLS.Contrast: ControlInfo(0.0, 32.0, 1.0),
        CONTROLS.ExposureTime: ControlInfo(exposure, longest_exposure, 20000),
        CONTROLS.ExposureTimeMode: ControlInfo(0, 1, 0),
        CONTROLS.ExposureValue: ControlInfo(-8.0, 8.0, 0.0),
        CONTROLS.FrameDurationLimits: ControlInfo(shortest, longest, shortest),
        CONTROLS.ScalerCrop: ControlInfo(Rectangle(0, 0, 64, 64), crop, crop),
        CONTROLS.Sharpness: ControlInfo(0.0, 16.0, 1.0),
        DRAFT.NoiseReductionMode: ControlInfo(0, 4, 0),
    }
    if sensor.cfa:
        info |= {
            CONTROLS.AwbEnable: ControlInfo(False, True, True),
            CONTROLS.ColourGains: ControlInfo(0.0, 32.0, 1.0),
            CONTROLS.ColourTemperature: ControlInfo(100, 100000, 5000),
            CONTROLS.Saturation: ControlInfo(0.0, 32.0, 1.0),
        }
    return info


def properties_of(sensor, rotation):
    """Return the properties {identity: value} of a camera."""
    width, height = sensor.size
    nanometres = round(sensor.pitch * 1e9)
    return {
        PROPERTIES.Model: sensor.model,
        PROPERTIES.Location: 2,  # external
        PROPERTIES.Rotation: rotation,
        PROPERTIES.UnitCellSize: Size(nanometres, nanometres),
        PROPERTIES.PixelArraySize: Size(width, height),
        PROPERTIES.PixelArrayActiveAreas: (Rectangle(0, 0, width, height),),
        PROPERTIES.ScalerCropMaximum: Rectangle(0, 0, width, height),
        PROPERTIES.SensorSensitivity: 1.0,
        DRAFT_PROPERTIES.ColorFilterArrangement: int(
            ColorFilterArrangementEnum[sensor.cfa or "MONO"]
        ),
    }


def metadata_of(record, sensor, mode, wishes, wall_clock_ns, level):
    """Return the metadata {identity: value} of a frame.

    Parameters
    ----------
    record : FrameRecord
        What the frame was truly taken with.
    sensor, mode : Sensor, Mode
        Constants.
    wishes : Wishes
        Colour gains in force.
    wall_clock_ns : int
        Time of day of the frame [ns].
    level : float
        Mean charge rate of the picture, from which an illuminance is guessed [e-/s].
    """
    red, blue = wishes.colour_gains
    values = {
        CONTROLS.AeState: int(AeStateEnum.Converged if wishes.exposure is None else 0),
        CONTROLS.AnalogueGain: record.gain,
        CONTROLS.DigitalGain: 1.0,
        CONTROLS.ExposureTime: _microseconds(record.exposure),
        CONTROLS.FrameDuration: _microseconds(record.frame_duration),
        CONTROLS.FrameWallClock: wall_clock_ns,
        CONTROLS.Lux: level / 100,
        CONTROLS.ScalerCrop: Rectangle(*mode.crop),
        CONTROLS.SensorBlackLevels: (sensor.black,) * 4,
        CONTROLS.SensorTemperature: 35.0,
        CONTROLS.SensorTimestamp: record.timestamp_ns,
    }
    if sensor.cfa:
        values |= {
            CONTROLS.ColourGains: (red, blue),
            CONTROLS.ColourTemperature: 5000,
            CONTROLS.ColourCorrectionMatrix: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        }
    return values
