"""Pictures in ZIP archives, the person in the member's name; nothing is ever extracted."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from anonymizer.alignment import ARCFACE112
from experiments.data.errors import DataError
from experiments.data.layouts.base import Entry, Layout

_MAX_MEMBERS = 2_000_000
_MAX_RATIO = 200  # unpacked over packed size; pictures are compressed already


@dataclass(frozen=True)
class Zip(Layout):
    r"""One archive, or all archives in a folder.

    Attributes
    ----------
    people : tuple of str
        Regular expressions for a member's file name; the first that matches wholly gives the
        person as its first group. The defaults read ``<Name>_0001.jpg`` and ``001_<view>.jpg``.
    aligned : int
        Side of crops aligned to the ArcFace template [px]; 0 if they are not, and faces must
        be searched.
    """

    people: tuple[str, ...] = (r"(.+)_\d{4}\.\w+", r"(\d+)_.+\.\w+")
    aligned: int = 112

    def entries(self) -> list[Entry]:
        """List the members of the archives, sorted by name."""
        patterns = [_compile(text) for text in self.people]
        five = aligned_five_points(self.aligned) if self.aligned else None
        out = []
        for path in self._archives():
            for member in _picture_members(path):
                name = PurePosixPath(member).name
                match = next((m for p in patterns if (m := p.fullmatch(name))), None)
                if match is None:
                    raise DataError(
                        f"{path.name}:{member}: none of the patterns data.layout.people = "
                        f"{list(self.people)} matches; add one whose first group is the person"
                    )
                file = f"{path.name}:{member}".encode("utf-8", "backslashreplace").decode()
                out.append(Entry(file, path, member=member, person=match[1], five=five))
        return out

    def _archives(self) -> list[Path]:
        if self.root.is_file():
            return [self.root]
        found = sorted(self.root.glob("*.zip")) if self.root.is_dir() else []
        if not found:
            raise DataError(
                f"root = {self.root} is no ZIP archive and no folder of them; give one as data.root"
            )
        return found


def aligned_five_points(side: int) -> NDArray[np.float32]:
    """Return eyes, nose tip and mouth corners (5, 2) in a crop aligned to ArcFace's template."""
    points: NDArray[np.float32] = ((ARCFACE112 + 0.5) * (side / 112) - 0.5).numpy()
    return points


class MemberReader:
    """Reads members of archives within limits, each archive opened once."""

    def __init__(self) -> None:
        self._open: dict[Path, zipfile.ZipFile] = {}

    def read(self, path: Path, member: str, max_bytes: int) -> bytes:
        """Return a member's content.

        Raises
        ------
        DataError
            It is too large, packed too densely, encrypted or damaged; the message is the bare
            reason, without the file.
        """
        archive = self._open.get(path)
        if archive is None:
            archive = self._open[path] = _open_archive(path)
        try:
            info = archive.getinfo(member)
            if info.file_size > max_bytes:
                raise DataError(
                    f"it unpacks to {info.file_size / 2**20:.1f} MiB, at most "
                    f"{max_bytes / 2**20:.0f} MiB are read"
                )
            if info.file_size > _MAX_RATIO * max(info.compress_size, 1):
                raise DataError(
                    f"it unpacks to {info.file_size // max(info.compress_size, 1)} times its "
                    f"size, at most {_MAX_RATIO} times is taken for a picture"
                )
            with archive.open(info) as file:
                return file.read(max_bytes + 1)
        except DataError:
            raise
        except KeyError as error:
            raise DataError("the archive holds no such member") from error
        except Exception as error:  # zipfile raises half a dozen classes on damaged archives
            raise DataError(f"the archive is damaged here ({error})") from error

    def close(self) -> None:
        """Close the archives."""
        for archive in self._open.values():
            archive.close()
        self._open.clear()


def _picture_members(path: Path) -> list[str]:
    with _open_archive(path) as archive:
        infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise DataError(f"{path} has {len(infos)} members, at most {_MAX_MEMBERS} are read")
    names = [i.filename for i in infos if not i.is_dir()]
    for name in names:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
            raise DataError(
                f"{path.name}: member {name!r} points outside the archive; such an archive is "
                "not to be trusted. Pack the pictures anew"
            )
    names = [n for n in names if not PurePosixPath(n).name.startswith(".") and "__MACOSX" not in n]
    if len(set(names)) != len(names):
        raise DataError(f"{path} holds several members of one name; pack the pictures anew")
    return sorted(n for n in names if PurePosixPath(n).suffix.lower() not in {".txt", ".csv"})


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{path} cannot be opened as a ZIP archive ({error}); fetch or pack it anew"
        ) from error


def _compile(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"people = {text!r} is not a regular expression: {error}") from error
    if pattern.groups < 1:
        raise ValueError(f"people = {text!r} has no group; put the person in round brackets")
    return pattern
