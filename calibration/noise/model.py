r"""Noise model of a camera in one mode: what a digital number is worth, and how sure it is.

For a mean sample :math:`\mu` of one plane after an exposure time t, the variance from frame to
frame is

.. math:: \sigma^2 = K (\mu - \mu_0) + K^2 (r^2 + r_r^2 + I_c t) + 1/12

with system gain K, black level :math:`\mu_0`, read noise r and row noise :math:`r_r`. Charge of
the dark current is in the mean, unless the camera takes it off by itself ("clamped"): then its
noise is left, as :math:`I_c t`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.bayer import places, plane_names
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkCurrent
from calibration.noise.photon_transfer import PhotonTransfer
from calibration.uncertainty import Uncertain

#: Of the mapping that `NoiseModel.to_dict` writes; raised by any change of its entries.
SCHEMA_VERSION = 1

_NONE = Uncertain(0.0, 0.0)


@dataclass(frozen=True)
class PlaneNoise:
    """Noise and scale of one colour plane.

    Attributes
    ----------
    system_gain : Uncertain
        Overall gain, above zero [DN/e-].
    black_level : Uncertain
        Sample without light or exposure [DN].
    read_noise, row_noise : Uncertain
        Dark temporal noise of a pixel, and of what a row shares [e- rms].
    dark_current : Uncertain
        Charge that collects without light [e-/s].
    dark_clamped : bool
        The camera takes the mean dark signal off.
    full_well : Uncertain or None
        Charge at which a pixel or the converter saturates [e-]; None if it was not reached.
    prnu : Uncertain or None
        Gain of the pixels, relative rms; None if it was not measured.
    dsnu : Uncertain or None
        Offset of the pixels [e- rms]; None if it was not measured.
    """

    system_gain: Uncertain
    black_level: Uncertain
    read_noise: Uncertain
    row_noise: Uncertain
    dark_current: Uncertain = _NONE
    dark_clamped: bool = False
    full_well: Uncertain | None = None
    prnu: Uncertain | None = None
    dsnu: Uncertain | None = None

    def __post_init__(self) -> None:
        if self.system_gain.value <= 0:
            raise ValueError(
                f"system_gain = {self.system_gain.value:g} DN/e-: a gain above zero is needed"
            )
        for name in ("read_noise", "row_noise", "full_well", "prnu", "dsnu"):
            entry = getattr(self, name)
            if entry is not None and entry.value < 0:
                raise ValueError(f"{name} = {entry.value:g}: zero or more is needed")

    def variance(self, mean: ArrayLike, exposure: float) -> NDArray[np.float64]:
        """Variance of a sample from frame to frame [DN^2], without saturation.

        Parameters
        ----------
        mean : array_like
            Expected sample [DN]; below the black level counts as black.
        exposure : float
            Exposure time [s].
        """
        check_exposure(exposure)
        gain = self.system_gain.value
        floor = self.read_noise.value**2 + self.row_noise.value**2
        if self.dark_clamped:
            floor += max(self.dark_current.value, 0.0) * exposure
        shot = np.maximum(np.asarray(mean, np.float64) - self.black_level.value, 0.0)
        return gain * shot + (gain**2 * floor + 1 / 12)

    def electrons(
        self, sample: ArrayLike, exposure: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Charge that light left in a pixel, and its standard uncertainty by calibration.

        Parameters
        ----------
        sample : array_like
            Digital numbers [DN], single or averaged.
        exposure : float
            Exposure time [s].

        Returns
        -------
        tuple of ndarray
            Electrons, dark signal taken off, and the uncertainty that all samples share [e-];
            noise is another matter, and `variance` tells it.
        """
        check_exposure(exposure)
        gain = self.system_gain
        charge = (np.asarray(sample, np.float64) - self.black_level.value) / gain.value
        error = (charge * gain.uncertainty / gain.value) ** 2
        error = error + (self.black_level.uncertainty / gain.value) ** 2
        if not self.dark_clamped:
            charge = charge - self.dark_current.value * exposure
            error = error + (self.dark_current.uncertainty * exposure) ** 2
        return charge, np.sqrt(error)

    @property
    def saturation(self) -> float | None:
        """Sample at which the plane saturates [DN]."""
        if self.full_well is None:
            return None
        return self.black_level.value + self.system_gain.value * self.full_well.value


def plane_noise(
    transfer: PhotonTransfer,
    *,
    dark: DarkCurrent | None = None,
    prnu: Uncertain | None = None,
    dsnu: Uncertain | None = None,
) -> PlaneNoise:
    """Put together what was measured of one plane.

    Parameters
    ----------
    transfer : PhotonTransfer
        Of its frames.
    dark : DarkCurrent, optional
        Of its darks; without it, the dark current counts as none.
    prnu, dsnu : Uncertain, optional
        From `calibration.noise.flat` and `calibration.noise.dark`.
    """
    read_noise, black_level = transfer.read_noise, transfer.black_level
    if dark is not None:
        black_level = dark.black_level
        # the dark of the photon transfer had collected some charge already
        square = read_noise.value**2 - max(dark.value.value, 0.0) * transfer.dark_exposure
        read_noise = Uncertain(math.sqrt(max(square, 0.0)), read_noise.uncertainty)
    return PlaneNoise(
        system_gain=transfer.system_gain,
        black_level=black_level,
        read_noise=read_noise,
        row_noise=transfer.row_noise,
        dark_current=dark.value if dark else _NONE,
        dark_clamped=dark.clamped if dark else False,
        full_well=transfer.full_well,
        prnu=prnu,
        dsnu=dsnu,
    )


@dataclass(frozen=True)
class NoiseModel:
    """Noise and scale of a camera in one mode, plane by plane.

    Attributes
    ----------
    mode : str
        Which mode it is, such as "4056x3040-12".
    cfa : str
        Colours of the top-left 2 x 2 block, row by row; "" is a monochrome sensor.
    bits : int
        Resolution of the samples, 1 to 16.
    gain : float
        Analogue gain.
    temperature : float or None
        Of the sensor [°C]; None where it does not tell.
    planes : mapping
        Plane name to its noise: all planes of `cfa`.
    warnings : tuple of str
        What makes the numbers doubtful.
    """

    mode: str
    cfa: str
    bits: int
    gain: float
    temperature: float | None
    planes: Mapping[str, PlaneNoise]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = plane_names(self.cfa)
        if set(self.planes) != set(names):
            raise ValueError(
                f"planes are {', '.join(sorted(self.planes))}; cfa = {self.cfa!r} has "
                f"{', '.join(names)}"
            )
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits = {self.bits}: 1 to 16 are allowed")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise ValueError(f"gain = {self.gain:g}: a gain above zero is needed")
        if self.temperature is not None and not math.isfinite(self.temperature):
            raise ValueError(f"temperature = {self.temperature:g} °C: a finite number is needed")

    def variance(self, mean: NDArray[np.floating[Any]], exposure: float) -> NDArray[np.float64]:
        """Variance of every sample of a mosaic (..., H, W) [DN^2]; see `PlaneNoise.variance`."""
        out = np.empty(mean.shape)
        for name, (rows, columns) in places(mean, self.cfa):
            at = (..., rows, columns)
            out[at] = self.planes[name].variance(mean[at], exposure)
        return out

    def electrons(
        self, sample: NDArray[Any], exposure: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Charge in every pixel of a mosaic (..., H, W) [e-]; see `PlaneNoise.electrons`."""
        charge, error = np.empty(sample.shape), np.empty(sample.shape)
        for name, (rows, columns) in places(sample, self.cfa):
            at = (..., rows, columns)
            charge[at], error[at] = self.planes[name].electrons(sample[at], exposure)
        return charge, error

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain numbers and words, for JSON."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, sheet: Mapping[str, Any]) -> "NoiseModel":
        """Read what `to_dict` gave.

        Raises
        ------
        CalibrationError
            It is of another version, or damaged.
        """
        version = sheet.get("schema_version") if isinstance(sheet, Mapping) else None
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise CalibrationError(
                f"noise model: schema_version = {version!r}, this program reads {SCHEMA_VERSION}; "
                f"calibrate again, or read it with the program that wrote it"
            )
        try:
            entries = {key: value for key, value in sheet.items() if key != "schema_version"}
            _only(entries, cls)
            return cls(
                mode=_text(entries["mode"]),
                cfa=_text(entries["cfa"]),
                bits=_whole(entries["bits"]),
                gain=_number(entries["gain"]),
                temperature=_maybe(_number, entries["temperature"]),
                planes={name: _plane(plane) for name, plane in entries["planes"].items()},
                warnings=tuple(_text(item) for item in entries["warnings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"noise model is damaged: {error}; calibrate again") from error


def check_exposure(exposure: float) -> None:
    """Raise ValueError unless `exposure` can be an exposure time [s]."""
    if not 0 <= exposure <= 1e5:
        raise ValueError(
            f"exposure = {exposure:g} s is outside [0, 100000] s; times are seconds, so 20 ms is "
            f"20e-3"
        )


def _plane(sheet: Any) -> PlaneNoise:
    _only(sheet, PlaneNoise)
    clamped = sheet["dark_clamped"]
    if not isinstance(clamped, bool):
        raise TypeError(f"dark_clamped = {clamped!r} is neither true nor false")
    sure = ("system_gain", "black_level", "read_noise", "row_noise", "dark_current")
    maybe = ("full_well", "prnu", "dsnu")
    return PlaneNoise(
        dark_clamped=clamped,
        **{name: _uncertain(sheet[name]) for name in sure},
        **{name: _maybe(_uncertain, sheet[name]) for name in maybe},
    )


def _only(sheet: Any, kind: type) -> None:
    known = {item.name for item in fields(kind)}
    if not isinstance(sheet, Mapping):
        raise TypeError(f"{sheet!r} is no mapping")
    if set(sheet) != known:
        odd = ", ".join(sorted(map(str, set(sheet) ^ known)))
        raise ValueError(f"entries are missing or unknown: {odd}")


def _uncertain(sheet: Any) -> Uncertain:
    _only(sheet, Uncertain)
    return Uncertain(_number(sheet["value"]), _number(sheet["uncertainty"]))


def _maybe(read: Any, value: Any) -> Any:
    return None if value is None else read(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
