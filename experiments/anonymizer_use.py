"""The anonymizer at work: all files of a source, one after another, each finished or not begun."""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments.anonymizer_crops import CentredFaces
from experiments.anonymizer_evaluation import check_evaluation
from experiments.data.errors import DataError
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.data.synthetic.sheet import contact_sheet
from experiments.disguising import Disguise
from experiments.faces_in_pictures import FaceFinder, WholePicture
from experiments.finished_anonymizer import FinishedAnonymizer, chosen_run, open_anonymizer
from experiments.launch import find_run
from experiments.lent_styles import TooNear, open_styles, seed_of
from experiments.picture_sources import ClipReader, is_clip, list_source, read_picture
from experiments.scene import crop_pixels
from experiments.settings import Settings, SettingsError, build
from experiments.store import append_jsonl, atomic_write, read_jsonl, save_json
from hardware.session import Recorded, Session
from hardware.session.runner import SESSION

FOLDER = "anonymized"
JOURNAL = "journal.jsonl"

_TILE, _COLUMNS, _MOST = 160, 6, 60  # of the contact sheet: side of a tile [px], tiles

log = logging.getLogger(__name__)


def apply(settings: Settings, run: Path) -> None:
    """Anonymize all files of `source` into the run folder, going on where the journal ends.

    Raises
    ------
    DataError
        The only file of the source is refused.
    """
    limits: PictureLimits = build(settings["limits"])
    disguise = open_disguise(settings, chosen_run(settings, run), limits)
    pieces = list_pieces(settings, disguise, limits)
    journal = run / JOURNAL
    entries = read_jsonl(journal) if journal.exists() else []
    done = {int(entry["number"]) for entry in entries}
    silent = None if settings["progress"] else True
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(pieces), initial=len(done), unit="file", disable=silent) as bar,
    ):
        for number, piece in enumerate(pieces, start=1):
            if number in done:
                continue
            entry = _anonymize(piece, number, run / FOLDER / f"{number:05d}")
            if "refused" in entry and len(pieces) == 1:
                raise DataError(entry["message"])
            if message := entry.pop("message", None):
                log.warning("%s", message)
            entries.append({"number": number, **entry})
            append_jsonl(journal, entries[-1])
            bar.update()
    _write_sheet(run, limits)
    metrics = {
        "files": len(entries),
        "files_refused": sum("refused" in entry for entry in entries),
        "faces": sum(entry.get("faces", 0) for entry in entries),
    }
    save_json(run / "metrics.json", metrics)
    log.info(
        "%d files, %d faces anonymized, %d refused", metrics["files"], metrics["faces"],
        metrics["files_refused"],
    )  # fmt: skip


def check_use(settings: Settings, mode: str) -> None:
    """Refuse settings with which a trained anonymizer can neither be applied nor judged."""
    if settings["run"] is None:
        raise SettingsError(
            f"run = null: {mode} needs a trained anonymizer; give run=latest or its folder"
        )
    if not settings["resume"]:
        find_run("anonymize", str(settings["run"]))
    if settings["hold"] < 0 or not 0 < settings["pace"] <= 1:
        raise SettingsError(
            f"hold = {settings['hold']}, pace = {settings['pace']}: expected 0 or more frames and "
            f"a share in (0, 1]"
        )
    if not -1 <= settings["nearest_reference"] <= 1:
        raise SettingsError(
            f"nearest_reference = {settings['nearest_reference']}, expected a cosine, -1 to 1"
        )
    build(settings["limits"])
    if mode == "evaluate":
        check_evaluation(settings)
        return
    if settings["source"] is None:
        raise SettingsError("source = null: name a picture, a folder or a clip, or evaluate=true")
    list_source(settings["source"])
    if seed_of(settings) is None:
        list_source(str(settings["reference"]))


def open_disguise(settings: Mapping[str, Any], source: Path, limits: PictureLimits) -> Disguise:
    """Open the networks of the run in `source`, and the styles that the settings name."""
    finished = open_anonymizer(source, settings)
    distance = finished.observer.nearest_to(settings["reference_distance"])
    finder = open_finder(settings, finished)
    context = finished.settings["context"]
    size = crop_pixels(finished.observer.camera.camera, distance, context)
    return Disguise(
        finished=finished,
        finder=finder,
        styles=open_styles(finished, finder, size, settings, limits),
        distance=distance,
        seed=settings["seed"],
        hold=settings["hold"],
        pace=settings["pace"],
    )


def open_finder(settings: Mapping[str, Any], finished: FinishedAnonymizer) -> FaceFinder:
    """Return who finds the faces: the detector, or nobody where pictures are faces already."""
    if settings["whole"]:
        return WholePicture()
    return CentredFaces(build(settings["detector"]), finished.settings["context"])


@dataclass(frozen=True)
class Piece:
    """A file, or a frame of a capture session.

    Attributes
    ----------
    name : str
        For messages.
    make : callable
        Anonymizes it by its number into a file of that name without extension, and returns the
        number of faces.
    """

    name: str
    make: Callable[[int, Path], int]


def list_pieces(
    settings: Mapping[str, Any], disguise: Disguise, limits: PictureLimits
) -> list[Piece]:
    """Return what there is to anonymize in `source`, in a fixed order."""
    source = Path(settings["source"])
    if is_session(source):
        session = Session.open(source)
        frames = session.frames(kind="scene")
        if not frames:
            raise DataError(f"source = {source}: the session has no frames of a scene")

        def from_frame(frame: Recorded, number: int, target: Path) -> int:
            return disguise.frame(session.load(frame), settings["face_at"], number, target)

        return [Piece(f"frame {f.number}", partial(from_frame, f)) for f in frames]

    def from_file(path: Path, number: int, target: Path) -> int:
        if is_clip(path):
            return disguise.clip(path, number, target, limits)
        return disguise.picture(read_picture(path, limits), path.name, number, target)

    return [Piece(path.name, partial(from_file, path)) for path in list_source(source)]


def is_session(source: Path) -> bool:
    """Return whether a folder holds a capture session."""
    return (source / SESSION).is_file()


def _anonymize(piece: Piece, number: int, target: Path) -> dict[str, Any]:
    """Anonymize one piece; what the journal keeps tells nothing of the file itself."""
    try:
        return {"faces": piece.make(number, target)}
    except BadPicture as error:
        return {"refused": error.kind, "message": str(error)}
    except TooNear as error:
        return {"refused": "near", "message": f"{piece.name}: {error}"}


def _write_sheet(run: Path, limits: PictureLimits) -> None:
    """Write small pictures of what was made, clips by their first frames, to sheet.png."""
    made = sorted((run / FOLDER).glob("*"))[:_MOST]
    if not made:
        return
    tiles = [np.asarray(ImageOps.pad(Image.fromarray(_first(path, limits)), (_TILE, _TILE)))
             for path in made]  # fmt: skip
    sheet = contact_sheet(np.stack(tiles), min(_COLUMNS, len(tiles)))
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    atomic_write(run / "sheet.png", file.getvalue())


def _first(path: Path, limits: PictureLimits) -> np.ndarray:
    if not is_clip(path):
        return read_picture(path, limits)
    with ClipReader(path, limits) as frames:
        return next(iter(frames))[1]
