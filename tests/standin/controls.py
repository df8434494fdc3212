"""Controls, properties and metadata: their identities, types and enumerations."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

from tests.standin.geometry import Rectangle


class ControlType(Enum):
    Null = 0
    Bool = 1
    Byte = 2
    Integer32 = 5
    Integer64 = 6
    Float = 7
    String = 8
    Rectangle = 9
    Size = 10


@dataclass(frozen=True, eq=False)
class ControlId:
    """Identity of one control; compared and hashed as an object, like the binding's."""

    name: str
    type: ControlType

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class ControlInfo:
    """Range and default of a control."""

    min: Any
    max: Any
    default: Any

    @property
    def values(self):
        return []


def _whole(bits: int) -> Callable[[Any], int]:
    def cast(item: Any) -> int:
        number = operator.index(item)
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise TypeError(f"{number} needs more than {bits} bits")
        return number

    return cast


def _real(item: Any) -> float:
    if isinstance(item, str | bytes):  # which Python would parse
        raise TypeError(f"{item!r} is not a number")
    return float(item)


def _rectangle(item: Any) -> Rectangle:
    if not isinstance(item, Rectangle):
        raise TypeError(f"{item!r} is not a Rectangle")
    return item


_CASTS = {  # what the binding converts to, and what it takes for it
    ControlType.Bool: bool,
    ControlType.Integer32: _whole(32),
    ControlType.Integer64: _whole(64),
    ControlType.Float: _real,
    ControlType.Rectangle: _rectangle,
}


def checked(identity: ControlId, value: Any) -> Any:
    """Return `value` as the binding would hand it to the camera.

    Raises
    ------
    RuntimeError
        The type does not fit, for example a float for a control of whole microseconds, or an
        array where a tuple is expected.
    """
    cast = _CASTS.get(identity.type, lambda item: item)
    try:
        if isinstance(value, list | tuple):
            return tuple(cast(item) for item in value)
        return cast(value)
    except TypeError as error:
        raise RuntimeError(
            f"Unable to cast {value!r} of {identity} to {identity.type.name}"
        ) from error


class NoiseReductionModeEnum(IntEnum):
    Off = 0
    Fast = 1
    HighQuality = 2
    Minimal = 3
    ZSL = 4


class AeStateEnum(IntEnum):
    Idle = 0
    Searching = 1
    Converged = 2


class AfModeEnum(IntEnum):
    Manual = 0
    Auto = 1
    Continuous = 2


class AfTriggerEnum(IntEnum):
    Start = 0
    Cancel = 1


class AfStateEnum(IntEnum):
    Idle = 0
    Scanning = 1
    Focused = 2
    Failed = 3


class ColorFilterArrangementEnum(IntEnum):
    RGGB = 0
    GRBG = 1
    GBRG = 2
    BGGR = 3
    RGB = 4
    MONO = 5


def _identities(**names: ControlType) -> SimpleNamespace:
    return SimpleNamespace(**{name: ControlId(name, kind) for name, kind in names.items()})


CONTROLS = _identities(
    AeEnable=ControlType.Bool,
    AeState=ControlType.Integer32,
    AnalogueGain=ControlType.Float,
    AnalogueGainMode=ControlType.Integer32,
    AwbEnable=ControlType.Bool,
    Brightness=ControlType.Float,
    ColourCorrectionMatrix=ControlType.Float,
    ColourGains=ControlType.Float,
    ColourTemperature=ControlType.Integer32,
    Contrast=ControlType.Float,
    DigitalGain=ControlType.Float,
    ExposureTime=ControlType.Integer32,
    ExposureTimeMode=ControlType.Integer32,
    ExposureValue=ControlType.Float,
    FrameDuration=ControlType.Integer64,
    FrameDurationLimits=ControlType.Integer64,
    FrameWallClock=ControlType.Integer64,
    Lux=ControlType.Float,
    Saturation=ControlType.Float,
    ScalerCrop=ControlType.Rectangle,
    SensorBlackLevels=ControlType.Integer32,
    SensorTemperature=ControlType.Float,
    SensorTimestamp=ControlType.Integer64,
    Sharpness=ControlType.Float,
)

DRAFT = _identities(NoiseReductionMode=ControlType.Integer32)

PROPERTIES = _identities(
    Model=ControlType.String,
    Location=ControlType.Integer32,
    Rotation=ControlType.Integer32,
    UnitCellSize=ControlType.Size,
    PixelArraySize=ControlType.Size,
    PixelArrayActiveAreas=ControlType.Rectangle,
    ScalerCropMaximum=ControlType.Rectangle,
    SensorSensitivity=ControlType.Float,
)

DRAFT_PROPERTIES = _identities(ColorFilterArrangement=ControlType.Integer32)
