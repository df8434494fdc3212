"""From photographs on disk to standard face crops: listed, decoded, located, cut and kept, once."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anonymizer.detection import Mtcnn
from anonymizer.teachers import LandmarkTeacher
from experiments.data.crop_store import SHARD, build_store, fingerprint
from experiments.data.crops import FaceCrops
from experiments.data.errors import DataError
from experiments.data.layouts.base import Entry, Layout
from experiments.data.layouts.sidecar import read_table
from experiments.data.locating import TURNED, Locator, TeacherLocator
from experiments.data.pictures import PictureLimits
from experiments.data.preparation import VERSION, Preparation, too_many
from experiments.data.splits import same_pictures

log = logging.getLogger(__name__)

_LISTED = 10  # refused files named in a message


class Photographs:
    """Photographs of faces in one or several folders of one layout.

    Parameters
    ----------
    root : path or sequence of path
        Folder or archive of the data set; several are read as one.
    layout : callable
        Makes the reader of one root, such as `experiments.data.layouts.folder.Folder`.
    limits : PictureLimits, optional
        How large files and pictures may be.
    on_bad : {"skip", "refuse"}
        Leave out a picture that cannot be used and count it, or stop at the first.
    max_bad_fraction : float, default 0.2
        Stop when more than this share of the pictures cannot be used; profiles, which are
        left out too, do not count.
    min_face_px : float, default 24.0
        Smallest width of a face [px].
    numbered_people : {"refuse", "same", "separate"}
        What a person whose name is a number, found in several roots, is: a mistake to stop at,
        one person, or one in each root.
    """

    def __init__(
        self,
        root: str | Path | Sequence[str | Path],
        layout: Callable[[Path], Layout],
        *,
        limits: PictureLimits | None = None,
        on_bad: Literal["skip", "refuse"] = "skip",
        max_bad_fraction: float = 0.2,
        min_face_px: float = 24.0,
        numbered_people: Literal["refuse", "same", "separate"] = "refuse",
    ) -> None:
        roots = [root] if isinstance(root, str | Path) else list(root)
        if not roots:
            raise ValueError("root is empty, expected at least one folder")
        if on_bad not in ("skip", "refuse"):
            raise ValueError(f"on_bad = {on_bad!r}, expected 'skip' or 'refuse'")
        if not 0 <= max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction = {max_bad_fraction:g}, expected 0 to 1")
        if not min_face_px >= 8:
            raise ValueError(f"min_face_px = {min_face_px:g} px, expected at least 8 px")
        if numbered_people not in ("refuse", "same", "separate"):
            raise ValueError(
                f"numbered_people = {numbered_people!r}, expected 'refuse', 'same' or 'separate'"
            )
        self.roots = [Path(r).expanduser() for r in roots]
        self.layouts = [layout(r) for r in self.roots]
        self.limits = limits if limits is not None else PictureLimits()
        self.on_bad, self.max_bad_fraction = on_bad, max_bad_fraction
        self.min_face_px, self.numbered_people = min_face_px, numbered_people

    def entries(self) -> list[Entry]:
        """List the pictures of all roots, or raise DataError with what to do."""
        places = [r.resolve() for r in self.roots]
        for i, place in enumerate(places):
            for other in places[i + 1 :]:
                if place == other or place in other.parents or other in place.parents:
                    raise DataError(f"root lists {place} and {other}: the same pictures twice")
        lists = [layout.entries() for layout in self.layouts]
        for root, entries in zip(self.roots, lists, strict=True):
            if not entries:
                raise DataError(f"root = {root} holds no pictures; give another as data.root")
        if len(lists) == 1:
            return lists[0]
        numbered = self._numbered_in_several(lists)
        return [
            replace(
                entry,
                file=f"{prefix}/{entry.file}",
                person=f"{prefix}/{entry.person}" if entry.person in numbered else entry.person,
            )
            for prefix, entries in zip(self._prefixes(), lists, strict=True)
            for entry in entries
        ]

    def prepare(
        self,
        cache: Path,
        *,
        detector: Mtcnn,
        teacher: LandmarkTeacher,
        size: int,
        context: float,
        progress: bool = True,
    ) -> FaceCrops:
        """Return the crops of all pictures, made on the first call and kept in `cache`.

        Parameters
        ----------
        cache : Path
            Folder for stores of crops; each has a folder of its own in it.
        detector, teacher
            Networks that place landmarks where the data set brings none.
        size : int
            Side of the crops [px].
        context : float
            Side of the crops in face widths.
        progress : bool, default True
            Show a bar on a terminal.

        Raises
        ------
        DataError
            Nothing, or too little, can be used.
        """
        locator = TeacherLocator(detector, teacher)
        return self.prepare_with(cache, locator, size=size, context=context, progress=progress)

    def prepare_with(
        self, cache: Path, locator: Locator, *, size: int, context: float, progress: bool = True
    ) -> FaceCrops:
        """As `prepare`, with any way to find the face that is meant."""
        if not 16 <= size <= 1024:
            raise ValueError(f"size = {size} px, expected 16 to 1024 px")
        if not 1 <= context <= 4:
            raise ValueError(f"context = {context:g} face widths, expected 1 to 4")
        entries = self.entries()
        sidecar = self._sidecar()
        settings = self._settings(locator)
        key = fingerprint(
            {
                "settings": settings,
                "files": _file_states(entries),
                "sidecar": _sidecar_state(sidecar),
                "size": size,
                "context": context,
            }
        )
        reader = type(self.layouts[0]).__name__.lower()
        source = settings | {"root": ", ".join(self._prefixes())}
        preparation = Preparation(
            locator=locator,
            sidecar=sidecar,
            size=size,
            context=context,
            limits=self.limits,
            on_bad=self.on_bad,
            max_bad_fraction=self.max_bad_fraction,
            min_face_px=self.min_face_px,
        )
        crops = build_store(
            cache / f"{reader}-{key}",
            lambda first: preparation.shards(entries, first, progress),
            n_shards=-(-len(entries) // SHARD),
            key=key,
            size=size,
            context=context,
            source=source,
            expected_faces=len(entries),
        )
        self._judge(crops)
        return replace(crops, source=crops.source | {"same_pictures": self._report(crops)})

    def _prefixes(self) -> list[str]:
        """Return a short name for each root, all different."""
        names = [root.resolve().name for root in self.roots]
        return [
            name if names.count(name) == 1 else f"{i + 1}-{name}" for i, name in enumerate(names)
        ]

    def _numbered_in_several(self, lists: Sequence[Sequence[Entry]]) -> set[str]:
        """Return the names to keep apart, or refuse numbers that mean people in several roots."""
        seen: set[str] = set()
        shared: set[str] = set()
        for entries in lists:
            people = {e.person for e in entries if e.person is not None and e.person.isdigit()}
            shared |= people & seen
            seen |= people
        if shared and self.numbered_people == "refuse":
            raise DataError(
                f"{len(shared)} people whose names are numbers ({', '.join(sorted(shared)[:5])}, "
                "...) are in several roots: nobody can tell whether they are the same; set "
                "data.numbered_people=same or =separate"
            )
        return shared if self.numbered_people == "separate" else set()

    def _sidecar(self) -> dict[str, NDArray[np.float32]]:
        """Return the landmarks in tables beside the pictures, by the names of the entries."""
        out: dict[str, NDArray[np.float32]] = {}
        for root, prefix in zip(self.roots, self._prefixes(), strict=True):
            before = f"{prefix}/" if len(self.roots) > 1 else ""
            table = read_table(root) if root.is_dir() else {}
            out |= {f"{before}{name}": points for name, points in table.items()}
        return out

    def _settings(self, locator: Locator) -> dict[str, Any]:
        """Return everything in the configuration that crops depend on, as plain JSON."""
        layout = self.layouts[0]
        own = {f.name: getattr(layout, f.name) for f in fields(layout) if f.name != "root"}
        return {
            "reader": type(layout).__name__,
            "reader_settings": {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()},
            "limits": asdict(self.limits),
            "min_face_px": self.min_face_px,
            "preparation": VERSION,
            **locator.identity,
        }

    def _judge(self, crops: FaceCrops) -> None:
        """Raise DataError if too much was refused."""
        refused = [(r["file"], r["kind"], r["reason"]) for r in crops.source["refused"]]
        faulty = [one for one in refused if one[1] != TURNED]
        pictures = crops.source["counts"]["pictures"]
        if refused and (self.on_bad == "refuse" or not len(crops)):
            raise too_many(refused, pictures, 0.0)
        if len(faulty) > self.max_bad_fraction * pictures:
            raise too_many(faulty, pictures, self.max_bad_fraction)

    def _report(self, crops: FaceCrops) -> list[list[str]]:
        """Log the counts, and return the groups of files that are the same."""
        counts = crops.source["counts"]
        kinds = [f"{n} {k[9:]}" for k, n in counts.items() if k.startswith("refused: ")]
        log.info(
            "data: %d crops of %d people from %d pictures; refused: %s",
            counts["crops"],
            counts["people"],
            counts["pictures"],
            ", ".join(kinds) or "none",
        )
        same = [list(group) for group in same_pictures(crops)]
        if same:
            shown = "; ".join(" = ".join(group) for group in same[:_LISTED])
            log.warning("data: %d pictures come more than once: %s", len(same), shown)
        return same


def _file_states(entries: Sequence[Entry]) -> str:
    """Return a hash of names, people, sizes and times of change of all pictures."""
    digest = hashlib.sha256()
    archives: dict[Path, str] = {}
    for entry in entries:
        state = archives.get(entry.path) or _state(entry.path)
        if entry.member:
            archives[entry.path] = state
        digest.update(repr((entry.file, entry.person, state)).encode("utf-8", "backslashreplace"))
        if not entry.member:
            digest.update(_state(entry.path.with_suffix(".pts")).encode())
        if entry.five is not None:
            digest.update(entry.five.tobytes())
    return digest.hexdigest()


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def _sidecar_state(sidecar: Mapping[str, NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for name, points in sorted(sidecar.items()):
        digest.update(repr(name).encode("utf-8", "backslashreplace") + points.tobytes())
    return digest.hexdigest()
