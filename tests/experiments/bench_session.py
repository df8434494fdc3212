"""A session of a small bench, taken by the capture job once, and frames of it rewritten."""

import dataclasses
import shutil

import numpy as np
from omegaconf import OmegaConf

from experiments import capture
from experiments.composing import compose
from experiments.settings import to_si
from experiments.store import read_json, save_json
from hardware.session import Session
from hardware.session.frames import frame_paths, write_frame
from hardware.session.journal import Journal

#: A camera of 1 mm behind 64 x 64 pixels, at two distances: seconds, not minutes.
SMALL = [
    "rig=bench", "rig.shape=[80,84]", "rig.camera.aperture_diameter='1 mm'",
    "rig.camera.window=31", "rig.camera.nodes=3", "rig.sensor.pixel_pitch='3 um'",
    "rig.sensor.binning=1", "rig.mask.cell='31.25 um'", "rig.mask.spread='0.7 mrad'",
    "plan=psf_stack", "plan.depths=2", "plan.size=[64,64]", "plan.repeats=2", "plan.auto.count=3",
    "plan.auto.ratio=4.0", "plan.flat_repeats=4", "plan.dark_repeats=4", "progress=false",
]  # fmt: skip


def take(folder, *changes):
    """Take a session into `folder`, and return the folder."""
    folder.mkdir(parents=True)
    config = compose("capture", [*SMALL, *changes])
    save_json(folder / "config.json", OmegaConf.to_container(config, resolve=True))
    save_json(folder / "run.json", {"job": "capture", "state": "finished"})
    capture.main(to_si(config), folder)
    return folder


def copy(folder, place):
    """Copy a session, to be spoiled."""
    shutil.copytree(folder, place)
    return place


def rewrite(folder, change, *, where=lambda record: True):
    """Write frames again as `change(frame, record)` gives them, journal and hashes included."""
    session = Session.open(folder)
    stored = {}
    for number, record in session.history.frames.items():
        if where(record):
            about = session.about(record)
            known = {name: about[name] for name in ("step", "kind", "position", "light")}
            stored[number] = write_frame(
                folder, number, change(session.load(record), record), known
            )
    rejournal(folder, lambda entry: _with(entry, stored))


def rejournal(folder, change):
    """Write the journal again, each event as `change` gives it; None leaves it out."""
    path = folder / "journal.jsonl"
    entries = [change(dict(entry)) for entry in Journal(path).entries]
    path.unlink()
    journal = Journal(path)
    for entry in entries:
        if entry is not None:
            journal.append(entry.pop("event"), **entry)


def edit(folder, change):
    """Change what session.json says."""
    sheet = read_json(folder / "session.json")
    change(sheet)
    save_json(folder / "session.json", sheet)


def with_mosaic(frame, mosaic):
    """Return a frame with other samples, as its converter would have them."""
    whole = np.clip(np.rint(mosaic), 0, frame.white_level).astype(np.uint16)
    return dataclasses.replace(frame, mosaic=whole)


def tiff(folder, number):
    """Return the path of a frame's picture."""
    return frame_paths(folder, number)[0]


def _with(entry, stored):
    new = stored.get(entry.get("number")) if entry["event"] == "frame" else None
    if new is not None:
        entry |= {"size": new.size, "sha256": new.sha256, "sidecar": new.sidecar}
    return entry
