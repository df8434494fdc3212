"""The stages of a calibration, each leaving a file that the next ones and a later start read.

======================  ===========================================================================
noise.json              noise model by plane; transfer.json: the points it came from
psf.npz, psf-2.npz ...  PSF stacks, one for each place of the source across the axis
design.npz, ...         the design laid on each of them: what it shows on the same pixels [e-/s]
twin.json, twin.npz     the camera as it was made, laid on one of them
======================  ===========================================================================
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from calibration.errors import CalibrationError
from calibration.noise.model import NoiseModel
from calibration.noise.session import (
    Flats,
    Transfer,
    flats_of,
    mode_of,
    transfer_of,
    with_fixed_pattern,
)
from calibration.noise.session import two_point_noise as two_points
from calibration.psf.session import SessionDarks, session_darks
from calibration.psf.stack import PsfStack, load_stack
from experiments.bench_rig import MASK, design_of_run, run_of_design
from experiments.runs import CONFIG
from experiments.settings import Settings, SettingsError, build, to_si
from experiments.store import file_sha256, read_json, save_json
from hardware.session import Session
from hardware.session.runner import JOURNAL, SESSION
from optics.camera import Camera

_BENCH = "experiments.bench_rig.open_bench_rig"


@dataclass(frozen=True, eq=False)
class Sensor:
    """What is known of the sensor before its PSFs are merged.

    Attributes
    ----------
    noise : NoiseModel
        In the mode of the session.
    darks : SessionDarks
        Of the session.
    flats : Flats or None
        Of the session.
    """

    noise: NoiseModel
    darks: SessionDarks
    flats: Flats | None


@dataclass(frozen=True, eq=False)
class Design:
    """What a camera was meant to be.

    Attributes
    ----------
    camera : Camera
        The design.
    record : mapping
        Where it is from: name, run and hash of the mask if it was learned.
    """

    camera: Camera
    record: Mapping[str, Any]

    @property
    def run(self) -> Path | None:
        """Folder of the run that learned it; None for a described one."""
        return Path(self.record["run"]) if "run" in self.record else None


def inputs(session: Session, transfer: Session | None) -> dict[str, Any]:
    """Return by their hashes what a calibration is made of."""
    return {
        name: {
            "folder": one.folder.name,
            "frames": len(one.frames()),
            **{file: file_sha256(one.folder / file) for file in (SESSION, JOURNAL)},
        }
        for name, one in (("session", session), ("transfer", transfer))
        if one is not None
    }


def sensor_stage(
    session: Session, transfer: Session | None, run: Path, *, watch: Callable[[], object]
) -> Sensor:
    """Find what the sensor does, or read the noise model that was found before.

    Raises
    ------
    CalibrationError
        Darks or flats are missing, or do not tell.
    """
    darks = session_darks(session)
    watch()
    flats = flats_of(session, darks, watch=watch)
    path = run / "noise.json"
    if path.exists():
        return Sensor(NoiseModel.from_dict(read_json(path)), darks, flats)
    if transfer is not None:
        curve = transfer_of(transfer, watch=watch)
        noise = with_fixed_pattern(curve.noise, flats, darks)
        save_json(run / "transfer.json", _curve(curve))
    elif flats is not None:
        noise = two_points(session, flats, darks)
        save_json(run / "transfer.json", _two_points(flats))
    else:
        raise CalibrationError(
            f"{session.folder.name} has no flats and no photon transfer was given, so the gain is "
            f"unknown: ./lab capture plan=photon_transfer, then transfer=latest"
        )
    save_json(path, noise.to_dict())
    return Sensor(noise, darks, flats)


def save_stacks(stacks: Sequence[PsfStack], run: Path) -> None:
    """Write stacks, the first as psf.npz."""
    for number, stack in enumerate(stacks, start=1):
        stack.save(numbered(run, "psf", number))


def load_stacks(run: Path) -> list[PsfStack]:
    """Read the stacks of a calibration; an empty list if it has none."""
    stacks: list[PsfStack] = []
    while (path := numbered(run, "psf", len(stacks) + 1)).exists():
        stacks.append(load_stack(path))
    return stacks


def design_of(which: str, session: Session) -> Design | None:
    """Return the design of the camera in a session.

    Parameters
    ----------
    which : str
        "session" for the one that the session was taken with, which a bench notes; "latest" or the
        folder of a co-design run; "none".
    session : Session
        The session.

    Raises
    ------
    CalibrationError
        The mask on the bench is not the one that the run holds now.
    SettingsError
        The session does not tell.
    """
    if which == "none":
        return None
    if which != "session":
        return described(design_record(which))
    rig = _rig_of(session)
    if rig is None:
        raise SettingsError(
            f"design = session: {session.folder.name} was taken on rig "
            f"{session.identity['rig']}, which does not say what its camera was designed as; give "
            f"design=latest, the folder of a co-design run, or design=none"
        )
    noted = read_json(session.folder / SESSION).get("about", {}).get("design") or {}
    if rig["design"] == "default":
        written = read_json(session.folder / CONFIG)["rig"]
        parts = {name: written[name] for name in ("camera", "lens", "sensor", "mask")}
        return described({"name": "default", "parts": parts})
    if "run" not in noted:
        raise SettingsError(
            f"{session.folder.name} does not say which run stood on the bench: give design=<run>"
        )
    return described(noted)


def design_record(which: str) -> dict[str, Any]:
    """Say where a design is from: "latest", or the folder of its run."""
    run = run_of_design(which)
    return {"name": which, "run": str(run), "mask_sha256": file_sha256(run / MASK)}


def described(record: Mapping[str, Any]) -> Design:
    """Return the design that `Design.record` tells of.

    Raises
    ------
    CalibrationError
        The run holds another mask now.
    """
    if "parts" in record:
        rig = to_si(OmegaConf.create(dict(record["parts"])))
        parts = {name: build(rig[name]) for name in ("lens", "sensor", "mask")}
        return Design(build(rig["camera"])(**parts).eval(), record)
    run = run_of_design(str(record["run"]))
    if file_sha256(run / MASK) != record["mask_sha256"]:
        raise CalibrationError(
            f"wrong design: the mask in {run} is not the one that was measured; give design=<the "
            f"run it was taken from>"
        )
    return Design(design_of_run(run), record)


def source_diameter(given: float | None, session: Session) -> float:
    """Diameter of the pinhole: as given, else as the rig of the session says, else 0 [m]."""
    if given is not None:
        return given
    rig = _rig_of(session)
    return float(rig["source"]["diameter"]) if rig is not None else 0.0


def valid_range(
    session: Session, span: tuple[float, float] | None, design: Design | None
) -> dict[str, Any]:
    """Return for which mode, temperature, distances and wavelengths the results hold."""
    steps = [step for step in session.plan.steps if step.kind == "psf"]
    distances = [step.distance for step in steps if step.distance is not None]
    bands = () if design is None else design.camera.sensor.bands
    return {
        "mode": mode_of(session),
        "gain": sorted({step.gain for step in steps}),
        "temperature_c": None if span is None else list(span),
        "distance_m": [min(distances), max(distances)] if distances else None,
        "wavelength_m": [band.centre for band in bands] or None,
        "camera": {k: session.identity["camera"][k] for k in ("model", "serial")},
    }


def _rig_of(session: Session) -> Settings | None:
    """Return the settings of the bench that a session was taken on; None for another rig."""
    path = session.folder / CONFIG
    if not path.exists():
        return None
    rig = to_si(OmegaConf.create(read_json(path))).get("rig", {})
    return rig if rig.get("_target_") == _BENCH else None


def numbered(run: Path, name: str, number: int) -> Path:
    """Return the file of the stack `number`, from 1: psf.npz, psf-2.npz and so on."""
    return run / (f"{name}.npz" if number == 1 else f"{name}-{number}.npz")


def _curve(transfer: Transfer) -> dict[str, Any]:
    """Points of a photon transfer, for the figure and for other programs [DN], [DN^2]."""
    out: dict[str, Any] = {"kind": "photon transfer", "planes": {}}
    for name, levels in transfer.levels.items():
        result = transfer.results[name]
        black = result.black_level.value
        points = [*transfer.darks[name][:1], *levels]
        out["planes"][name] = {
            "signal": [point.mean - black for point in points],
            "variance": [point.variance for point in points],
            "uncertainty": [point.variance_uncertainty for point in points],
            "saturation": result.saturation.value if result.saturation else None,
            "linearity_error": result.linearity.error if result.linearity else None,
            "chi_square": result.chi_square,
            "degrees": result.degrees,
        }
    return out


def _two_points(flats: Flats) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": "two points", "planes": {}}
    for name, noise in flats.statistics.temporal(~flats.dark.hot).items():
        dark = flats.dark.planes[name].noise
        out["planes"][name] = {
            "signal": [0.0, flats.field.planes[name].signal],
            "variance": [dark.pixel, noise.pixel],
            "uncertainty": [dark.pixel_uncertainty, noise.pixel_uncertainty],
            "saturation": None,
            "linearity_error": None,
        }
    return out
