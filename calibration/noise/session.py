"""From recorded sessions to a noise model: by photon transfer, or by the flats of a PSF session.

A photon transfer tells gain, linearity and saturation. The flats that a PSF session takes besides
are one light level: with the darks they give the gain by two points, which neither sees where the
sensor saturates nor whether its response is straight. Frames are read one at a time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.bayer import centre, planes
from calibration.errors import CalibrationError
from calibration.noise.dark import MasterDark, dark_current
from calibration.noise.flat import FlatField, flat_field
from calibration.noise.levels import Level, level_of
from calibration.noise.model import NoiseModel, PlaneNoise, plane_noise
from calibration.noise.photon_transfer import PhotonTransfer, photon_transfer
from calibration.noise.stacks import FrameStatistics
from calibration.psf.bracket import Bracket
from calibration.psf.session import SessionDarks, temperature_of
from calibration.uncertainty import Uncertain, square_root
from hardware.frames import RawFrame, Roi
from hardware.session import Recorded, Session

_SIDE = 256  # pixels of a plane, in the middle, where the light is even
_BRIGHT = 20.0  # deviations of the dark that a flat lies above it, to tell the gain

Watch = Callable[[], object]


def _unwatched() -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Transfer:
    """A photon transfer by plane: its points and what they say.

    Attributes
    ----------
    levels, darks : mapping
        Plane name to its light levels and to its darks.
    results : mapping
        Plane name to the evaluated curve.
    noise : NoiseModel
        What follows, without what flats of many frames tell.
    """

    levels: Mapping[str, tuple[Level, ...]]
    darks: Mapping[str, tuple[Level, ...]]
    results: Mapping[str, PhotonTransfer]
    noise: NoiseModel


@dataclass(frozen=True, eq=False)
class Flats:
    """Flats of a PSF session.

    Attributes
    ----------
    field : FlatField
        Response of the pixels of `region`.
    region : Roi
        What they cover of the full frame.
    exposure : float
        Exposure time [s].
    statistics : FrameStatistics
        Of the frames.
    dark : MasterDark
        That was subtracted.
    temperature : float or None
        Of the sensor [°C].
    """

    field: FlatField
    region: Roi
    exposure: float
    statistics: FrameStatistics
    dark: MasterDark
    temperature: float | None

    def of(self, region: Roi) -> FlatField:
        """Return the part for a region inside of theirs."""
        row, column = region.row - self.region.row, region.column - self.region.column
        part = (slice(row, row + region.height), slice(column, column + region.width))
        response = self.field.response[part]
        if min(row, column) < 0 or response.shape != (region.height, region.width):
            raise CalibrationError(
                f"the flats cover {self.region}, the frames {region}: take flats of all regions"
            )
        return replace(self.field, response=response)


def transfer_of(session: Session, *, watch: Watch = _unwatched) -> Transfer:
    """Evaluate a session of pairs of flats and darks at many exposures.

    Parameters
    ----------
    session : Session
        As the plan photon_transfer takes it.
    watch : callable
        Called after every frame.

    Raises
    ------
    CalibrationError
        Frames are missing or do not tell; see `photon_transfer`.
    """
    flats, darks = session.frames(kind="flat"), session.frames(kind="dark")
    if not darks:
        raise CalibrationError(
            f"{session.folder.name} has no darks: a photon transfer needs two of each exposure, "
            f"with the lamp off"
        )
    bright, temperatures, first = _levels(session, flats, lit=True, watch=watch)
    black, of_darks, _ = _levels(session, darks, lit=False, watch=watch)
    if first is None:
        raise CalibrationError(f"{session.folder.name} has no flats: take a photon transfer")
    results, noise = {}, {}
    notes = []
    for name in bright:
        try:
            results[name] = photon_transfer(bright[name], black[name])
        except CalibrationError as error:
            raise CalibrationError(f"{session.folder.name}, plane {name}: {error}") from error
        noise[name] = plane_noise(results[name])
        notes += [f"{name}: {note}" for note in results[name].warnings]
    both = [*temperatures, *of_darks]
    model = NoiseModel(
        mode=mode_of(session),
        cfa=session.identity["camera"]["mode"]["cfa"],
        bits=first.bits,
        gain=first.gain,
        temperature=sum(both) / len(both) if both else None,
        planes=noise,
        warnings=tuple(notes),
    )
    return Transfer(
        {n: tuple(v) for n, v in bright.items()}, {n: tuple(v) for n, v in black.items()},
        results, model,
    )  # fmt: skip


def _levels(
    session: Session, records: list[Recorded], *, lit: bool, watch: Watch
) -> tuple[dict[str, list[Level]], list[float], RawFrame | None]:
    """Statistics of the middle of every plane, one level per exposure."""
    found: dict[str, list[Level]] = {}
    temperatures: list[float] = []
    first: RawFrame | None = None
    for asked in sorted({record.exposure for record in records}):
        own: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.uint16]]]] = {}
        exposure = asked
        for frame in session.load_all([r for r in records if r.exposure == asked]):
            first = first or frame
            if frame.gain != first.gain or frame.cfa != first.cfa:
                raise CalibrationError(
                    f"{session.folder.name} has frames of gain {first.gain:g} and of "
                    f"{frame.gain:g}, or of shifted regions: evaluate each by itself"
                )
            exposure = frame.exposure
            for name, plane in planes(frame.mosaic, frame.cfa).items():
                own.setdefault(name, []).append(centre(plane, _SIDE))
            if (temperature := temperature_of(frame)) is not None:
                temperatures.append(temperature)
            watch()
        for name, parts in own.items():
            if len(parts) < 2:
                raise CalibrationError(
                    f"there is one frame of {asked:g} s: noise is the difference of two or more"
                )
            level = level_of(np.stack(parts), exposure=exposure, light=exposure if lit else 0.0)
            found.setdefault(name, []).append(level)
    return found, temperatures, first


def flats_of(session: Session, darks: SessionDarks, *, watch: Watch = _unwatched) -> Flats | None:
    """Return the response of the pixels by the flats of a session; None if it has none.

    Parameters
    ----------
    session : Session
        A PSF session.
    darks : SessionDarks
        Of the same session.
    watch : callable
        Called after every frame.

    Raises
    ------
    CalibrationError
        The flats are dark, saturated, or without darks.
    """
    records = session.frames(kind="flat")
    if len(records) < 2:
        return None
    exposure = max({r.exposure for r in records}, key=[r.exposure for r in records].count)
    statistics: FrameStatistics | None = None
    region, taken = darks.region, exposure
    temperatures = []
    first: RawFrame | None = None
    for frame in session.load_all([r for r in records if r.exposure == exposure]):
        first = first or frame
        statistics = statistics or FrameStatistics(frame.cfa)
        region, taken = Roi(*frame.origin, *frame.shape), frame.exposure
        statistics.add(frame.mosaic)
        if (temperature := temperature_of(frame)) is not None:
            temperatures.append(temperature)
        watch()
    if statistics is None or first is None:
        return None
    temperature = sum(temperatures) / len(temperatures) if temperatures else None
    single = Bracket()
    single.add(first)
    (dark,) = darks.of(single, temperature).values()
    return Flats(flat_field(statistics, dark), region, taken, statistics, dark, temperature)


def two_point_noise(session: Session, flats: Flats, darks: SessionDarks) -> NoiseModel:
    r"""Return the noise model that one light level and darks give.

    .. math:: K = \frac{\sigma_f^2 - \sigma_d^2}{\mu_f - \mu_d}

    Parameters
    ----------
    session : Session
        What they are of.
    flats : Flats
        From `flats_of`.
    darks : SessionDarks
        Of the session.

    Raises
    ------
    CalibrationError
        The flats are hardly brighter than their noise.
    """
    good = ~flats.dark.hot
    lit = flats.statistics.temporal(good)
    mean = planes(flats.statistics.mean() - flats.dark.mean, flats.statistics.cfa)
    hot = planes(flats.dark.hot, flats.statistics.cfa)
    masters = _alike(darks)
    noise = {}
    for name, plane in mean.items():
        own, dark = lit[name], flats.dark.planes[name]
        signal = float(plane[~hot[name]].mean())
        if signal < _BRIGHT * math.sqrt(dark.noise.pixel):
            raise CalibrationError(
                f"{name}: the flats are {signal:.3g} DN above their dark: take them at about half "
                f"of saturation, or give a photon transfer"
            )
        error = math.hypot(own.pixel_uncertainty, dark.noise.pixel_uncertainty) / signal
        gain = Uncertain((own.pixel - dark.noise.pixel) / signal, error)
        noise[name] = replace(_plane(name, gain, masters), prnu=flats.field.planes[name].prnu)
    return NoiseModel(
        mode=mode_of(session),
        cfa=session.identity["camera"]["mode"]["cfa"],
        bits=int(session.identity["camera"]["mode"]["bits"]),
        gain=masters[0].conditions.gain,
        temperature=flats.temperature,
        planes=noise,
        warnings=(
            "the gain is by two points, the flats and their darks: full well and linearity were "
            "not measured; a photon transfer tells them",
        ),
    )


def with_fixed_pattern(noise: NoiseModel, flats: Flats | None, darks: SessionDarks) -> NoiseModel:
    """Return a model of a photon transfer with what many frames of another session add.

    Parameters
    ----------
    noise : NoiseModel
        Of the same mode and gain.
    flats : Flats or None
        For the non-uniformity of the response.
    darks : SessionDarks
        For the dark current and the non-uniformity of the offsets.
    """
    masters = _alike(darks)
    out = {}
    for name, plane in noise.planes.items():
        longest = masters[-1].planes[name]
        prnu = plane.prnu if flats is None else flats.field.planes[name].prnu
        out[name] = replace(plane, dsnu=longest.dsnu(plane.system_gain), prnu=prnu)
        if len(masters) > 1:
            current = dark_current(masters, name, plane.system_gain)
            out[name] = replace(out[name], dark_current=current.value, dark_clamped=current.clamped)
    return replace(noise, planes=out)


def _alike(darks: SessionDarks) -> list[MasterDark]:
    """Master darks of the gain and temperature that most of them share, shortest first."""
    groups: dict[tuple[float, float | None], list[MasterDark]] = {}
    for dark in darks.masters.values():
        key = (dark.conditions.gain, dark.conditions.temperature)
        groups.setdefault(key, []).append(dark)
    most = max(groups.values(), key=len)
    return sorted(most, key=lambda dark: dark.conditions.exposure)


def mode_of(session: Session) -> str:
    """Name of the camera's mode in a session."""
    return str(session.identity["camera"]["mode"]["name"])


def _plane(name: str, gain: Uncertain, masters: Sequence[MasterDark]) -> PlaneNoise:
    """Noise of a plane whose gain is known, from its darks, shortest first."""
    shortest = masters[0].planes[name]
    black, current, clamped = shortest.mean, Uncertain(0.0, 0.0), False
    if len(masters) > 1:
        found = dark_current(masters, name, gain)
        black, current, clamped = found.black_level, found.value, found.clamped
    spread = square_root(shortest.noise.pixel - 1 / 12, shortest.noise.pixel_uncertainty)
    read = spread.divided_by(gain)
    collected = max(current.value, 0.0) * masters[0].conditions.exposure
    height, width = (n // 2 if len(masters[0].planes) > 1 else n for n in masters[0].mean.shape)
    of_rows = max(shortest.noise.row, 0.0) + shortest.noise.pixel / width
    error = of_rows * math.sqrt(2 / ((masters[0].frames - 1) * (height - 1)))
    rows = square_root(max(shortest.noise.row, 0.0), error)
    return PlaneNoise(
        system_gain=gain,
        black_level=black,
        read_noise=replace(read, value=math.sqrt(max(read.value**2 - collected, 0.0))),
        row_noise=rows.divided_by(gain),
        dark_current=current,
        dark_clamped=clamped,
        dsnu=masters[-1].planes[name].dsnu(gain),
    )
