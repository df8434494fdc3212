"""From a recorded session to merged rates and PSF stacks.

Frames are read one at a time. A session has its own darks; those of a larger region are cut to
that of each step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from calibration.bayer import places
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions, DarkFrames, MasterDark
from calibration.noise.flat import FlatField
from calibration.noise.model import NoiseModel
from calibration.psf.bracket import Bracket, LightLog, light_log
from calibration.psf.hdr import MergedRate, merge
from calibration.psf.registration import DriftLog
from calibration.psf.stack import PsfStack
from hardware.cameras.base import EXPOSURE_TOLERANCE
from hardware.frames import RawFrame, Roi, shifted_cfa
from hardware.session import Recorded, Session

_TEMPERATURE = ("SensorTemperature", "sensor_temperature")
_WARMER = 3.0  # K between darks and frames that are worth a word
_MOST_OUTLIERS = 1 / 3
_SAME_PLACE = 1e-6  # m


@dataclass(frozen=True, eq=False)
class SessionDarks:
    """Master darks of a session.

    Attributes
    ----------
    masters : mapping
        Conditions to the master dark of `region`.
    region : Roi
        What they cover of the full frame.
    """

    masters: Mapping[DarkConditions, MasterDark]
    region: Roi

    def of(self, bracket: Bracket, temperature: float | None) -> dict[float, MasterDark]:
        """Return the darks of a bracket's exposures, cut to its region.

        Parameters
        ----------
        bracket : Bracket
            With a frame or more.
        temperature : float or None
            Of the sensor in its frames [°C]; the nearest darks are taken.

        Raises
        ------
        CalibrationError
            A dark is missing, or covers another region.
        """
        first = bracket.first
        if first is None:
            raise ValueError("the bracket holds no frames")
        row, column = (o - b for o, b in zip(first.origin, (self.region.row, self.region.column),
                                             strict=True))  # fmt: skip
        inside = row >= 0 and column >= 0 and row + first.shape[0] <= self.region.height
        if not inside or column + first.shape[1] > self.region.width:
            raise CalibrationError(
                f"the darks cover {self.region}, the frames begin at {first.origin} and have "
                f"{first.shape} pixels: take darks of the same region"
            )
        part = (slice(row, row + first.shape[0]), slice(column, column + first.shape[1]))
        found = {}
        for exposure in bracket.exposures:
            # a camera may take a frame for what was asked that is off by its tolerance
            fitting = [
                (abs((key.temperature or 0.0) - (temperature or 0.0)), off, dark)
                for key, dark in self.masters.items()
                if (off := abs(key.exposure / exposure - 1)) <= EXPOSURE_TOLERANCE
                and math.isclose(key.gain, first.gain, rel_tol=1e-3)
            ]
            if not fitting:
                raise CalibrationError(
                    f"there is no dark of {exposure:g} s at gain {first.gain:g}: take darks of "
                    f"every exposure"
                )
            dark = min(fitting, key=lambda one: one[:2])[2]
            found[exposure] = replace(dark, mean=dark.mean[part], hot=dark.hot[part])
        return found


@dataclass(frozen=True, eq=False)
class MergedStep:
    """A step of a session, merged.

    Attributes
    ----------
    name : str
        Of the step.
    position : mapping
        Where the axes were [m or rad].
    merged : MergedRate
        Its rates.
    log : LightLog
        How steady the light was.
    warnings : tuple of str
        What makes the numbers doubtful.
    """

    name: str
    position: Mapping[str, float]
    merged: MergedRate
    log: LightLog
    warnings: tuple[str, ...]


def session_darks(session: Session) -> SessionDarks:
    """Average the darks of a session.

    Raises
    ------
    CalibrationError
        It has none, or they are of several regions.
    """
    records = session.frames(kind="dark")
    if not records:
        raise CalibrationError(f"{session.folder.name} has no darks: take them with the lamp off")
    filed: DarkFrames | None = None
    region = None
    for frame in session.load_all(records):
        own = Roi(*frame.origin, *frame.shape)
        if filed is None or region is None:
            filed, region = DarkFrames(frame.cfa), own
        if own != region:
            raise CalibrationError(f"darks are of {region} and of {own}: take those of one region")
        filed.add(
            frame.mosaic, DarkConditions.of(frame.exposure, frame.gain, temperature_of(frame))
        )
    assert filed is not None  # noqa: S101 - there are records
    assert region is not None  # noqa: S101
    for key, stack in filed.stacks.items():
        if stack.count < 2:
            raise CalibrationError(
                f"there is one dark of {key.exposure:g} s: two or more are needed, 32 are advised"
            )
    return SessionDarks(filed.masters(), region)


def merge_step(
    session: Session,
    step: str,
    noise: NoiseModel,
    darks: SessionDarks,
    *,
    light: Literal["steady", "followed"] = "steady",
    flat: FlatField | None = None,
) -> MergedStep:
    """Merge the frames of a step; those that do not belong are left out, and named.

    Parameters
    ----------
    session : Session
        The session.
    step : str
        Name of the step.
    noise : NoiseModel
        Of the mode and gain of its frames.
    darks : SessionDarks
        From `session_darks`.
    light : {"steady", "followed"}
        Whether each exposure is divided by the light of the source that its frames show.
    flat : FlatField, optional
        Response of the pixels of the step's region.

    Raises
    ------
    CalibrationError
        The frames do not allow it; see `merge`.
    """
    _check_mode(session, noise)
    records = session.frames(step=step)
    if len(records) < 2:
        raise CalibrationError(
            f"step {step} has {len(records)} frames, two or more are needed: finish the session"
        )
    bracket, temperature = _bracket(session, records)
    own = darks.of(bracket, temperature)
    log = light_log(bracket, own, noise)
    if log.outliers:
        left_out = {frame.number for frame in log.outliers}
        if len(left_out) > _MOST_OUTLIERS * len(records):
            raise CalibrationError(
                f"step {step}: {len(left_out)} of {len(records)} frames do not fit the others; "
                f"look for flicker, vibration or changing room light"
            )
        bracket, temperature = _bracket(session, records, left_out)
    ratios = log.ratios() if light == "followed" else None
    merged = merge(bracket, own, noise, lights=ratios, flat=flat)
    of_darks = {note for dark in own.values() for note in dark.warnings}
    notes = [*log.warnings(), *merged.warnings, *sorted(of_darks)]
    then = next(iter(own.values())).conditions.temperature
    if temperature is not None and then is not None and abs(temperature - then) > _WARMER:
        notes.append(
            f"the sensor was at {temperature:.1f} °C, in the darks at about {then:g} °C: take "
            f"darks at the temperature of the frames"
        )
    position = session.about(records[0])["position"]
    return MergedStep(step, position, merged, log, tuple(notes))


def psf_stacks(
    steps: Sequence[MergedStep],
    session: Session,
    *,
    axis: str = "z",
    across: tuple[str, str] = ("y", "x"),
) -> list[PsfStack]:
    """Put merged steps together, one stack for each place across the axis.

    Parameters
    ----------
    steps : sequence of MergedStep
        One or more; those of a place in the order of their readings. The stacks hold the region
        that all of its steps have in common.
    session : Session
        What they are of.
    axis : str
        Axis along the optical axis.
    across : tuple of str
        Axes (y, x) across it; one that the rig does not have counts as zero.

    Raises
    ------
    CalibrationError
        The steps of a place have no region in common.
    """
    camera = session.identity["camera"]
    fields: dict[tuple[int, ...], list[MergedStep]] = {}
    for step in steps:
        if axis not in step.position:
            raise CalibrationError(
                f"step {step.name} has no position of axis {axis!r}: home the stage, or name "
                f"another axis"
            )
        key = tuple(round(step.position.get(name, 0.0) / _SAME_PLACE) for name in across)
        fields.setdefault(key, []).append(step)
    stacks = []
    for own in fields.values():
        own.sort(key=lambda step: step.position[axis])
        region = _common([Roi(*s.merged.origin, *s.merged.rate.shape) for s in own])
        parts = [
            (
                slice(region.row - s.merged.origin[0], region.row - s.merged.origin[0]
                      + region.height),
                slice(region.column - s.merged.origin[1], region.column - s.merged.origin[1]
                      + region.width),
            )
            for s in own
        ]  # fmt: skip
        valid = np.array([s.merged.valid[p] for s, p in zip(own, parts, strict=True)])
        rate = np.array([s.merged.rate[p] for s, p in zip(own, parts, strict=True)])
        variance = np.array([s.merged.variance[p] for s, p in zip(own, parts, strict=True)])
        first = own[0].merged
        stacks.append(
            PsfStack(
                rate=np.where(valid, rate, 0.0),
                variance=np.where(valid, variance, 0.0),
                valid=valid,
                readings=np.array([s.position[axis] for s in own]),
                cfa=shifted_cfa(
                    first.cfa, region.row - first.origin[0], region.column - first.origin[1]
                ),
                origin=(region.row, region.column),
                frame=tuple(camera["mode"]["shape"]),
                pixel_pitch=float(camera["mode"]["pixel_pitch"]),
                across=(
                    own[0].position.get(across[0], 0.0),
                    own[0].position.get(across[1], 0.0),
                ),
                notes=_notes(session, own),
            )
        )
    return stacks


def spot_drift(session: Session, step: str, darks: SessionDarks, noise: NoiseModel) -> DriftLog:
    """Follow the spot through the frames of the shortest exposure of a step, which clips nowhere.

    Parameters
    ----------
    session, step, darks, noise
        As for `merge_step`. Shifts are in pixels of the first green plane (or the only one), two
        of the mosaic each.
    """
    records = session.frames(step=step)
    shortest = min((record.exposure for record in records), default=0.0)
    records = [record for record in records if record.exposure == shortest]
    if len(records) < 2:
        raise CalibrationError(
            f"step {step} has {len(records)} frames of its shortest exposure; two or more are "
            f"needed to see a drift"
        )
    log = DriftLog(band=0.5)
    for frame in session.load_all(records):
        single = Bracket()
        single.add(frame)
        (dark,) = darks.of(single, temperature_of(frame)).values()
        name, place = next(
            (n, p) for n, p in places(frame.mosaic, frame.cfa) if n in ("Gr", "mono")
        )
        samples = frame.mosaic[place].astype(np.float64)
        signal = samples - dark.mean[place]
        variance = noise.planes[name].variance(samples, frame.exposure)
        valid = ~dark.hot[place]
        # the background is all but even here, and an even one moves nothing
        level = float(np.median(signal[valid]))
        log.add(frame.timestamp * 1e-9, signal - level, variance, valid)
    return log


def temperature_of(frame: RawFrame) -> float | None:
    """Temperature of the sensor [°C]; None where it does not tell."""
    for name in _TEMPERATURE:
        value = frame.metadata.get(name)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    return None


def _bracket(
    session: Session, records: list[Recorded], left_out: set[int] | None = None
) -> tuple[Bracket, float | None]:
    """Sum the frames, and return their mean temperature."""
    bracket = Bracket()
    temperatures = []
    for number, record in enumerate(records):
        if left_out and number in left_out:
            bracket.skip()
            continue
        frame = session.load(record)
        bracket.add(frame)
        if (temperature := temperature_of(frame)) is not None:
            temperatures.append(temperature)
    return bracket, sum(temperatures) / len(temperatures) if temperatures else None


def _check_mode(session: Session, noise: NoiseModel) -> None:
    mode = session.identity["camera"]["mode"]["name"]
    if noise.mode != mode:
        raise CalibrationError(
            f"the noise model is of mode {noise.mode!r}, the session of {mode!r}: take a photon "
            f"transfer in that mode"
        )


def _common(regions: list[Roi]) -> Roi:
    top, left = max(r.row for r in regions), max(r.column for r in regions)
    bottom = min(r.row + r.height for r in regions)
    right = min(r.column + r.width for r in regions)
    # whole blocks of the mosaic
    height, width = (bottom - top) // 2 * 2, (right - left) // 2 * 2
    if height < 2 or width < 2:
        raise CalibrationError(
            "the steps of a stack have no region in common: capture larger regions, or let the "
            "spot stay where it is"
        )
    return Roi(top, left, height, width)


def _notes(session: Session, steps: list[MergedStep]) -> dict[str, Any]:
    return {
        "session": session.folder.name,
        "steps": [step.name for step in steps],
        "exposures": [[use.exposure for use in step.merged.exposures] for step in steps],
        "chi_square": [dict(step.merged.chi_square) for step in steps],
        "scale_uncertainty": dict(steps[0].merged.scale),
        "warnings": sorted({f"{step.name}: {note}" for step in steps for note in step.warnings}),
    }
