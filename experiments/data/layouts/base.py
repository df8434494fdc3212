"""What a reader of a data set gives, and what readers share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from experiments.data.errors import DataError

# endings of files that stand beside pictures and are none
_NOTES = {
    *(".csv", ".txt", ".tsv", ".lst", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".pts"),
    *(".html", ".pdf", ".db", ".ini", ".log", ".sha256", ".py", ".zip"),
}
# names of folders that are parts of a data set, not people
_PARTS = {
    *("train", "val", "valid", "validation", "dev", "test", "heldout"),
    *("male", "female", "men", "women"),
}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a data set.

    Attributes
    ----------
    file : str
        Path below the root, for people to read.
    path : Path
        The file, or the archive that holds it.
    member : str
        Name in the archive; "" for a plain file.
    person : str or None
        Who it is, if known.
    five : ndarray of float32, shape (5, 2), or None
        Eyes, nose tip, mouth corners in the upright picture, if the data set gives them [px].
    labels : mapping of str to str
        Further labels, the same names for every entry of a data set.
    """

    file: str
    path: Path
    member: str = ""
    person: str | None = None
    five: NDArray[np.float32] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Layout(ABC):
    """A data set on disk.

    Attributes
    ----------
    root : Path
        Its folder, or its archive.
    """

    root: Path

    @abstractmethod
    def entries(self) -> list[Entry]:
        """List the pictures in a fixed order, or raise DataError with what to do."""


def require_folder(root: Path) -> None:
    """Raise DataError unless `root` is a folder."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"root = {root} {what}; give the folder of the data set as data.root")


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders in `folder`, sorted by name."""
    return [path for path in _visible(folder) if path.is_dir()]


def picture_files(folder: Path) -> list[Path]:
    """Return the visible files in `folder` that may be pictures, sorted by name.

    Only files with the extension of a note, a table or an archive are left out: what a file is
    shows when it is decoded.
    """
    return [p for p in _visible(folder) if p.suffix.lower() not in _NOTES and not p.is_dir()]


def people_in_folders(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield each person's name and picture files from folders named after people.

    Raises
    ------
    DataError
        The root holds loose pictures, no folders, folders of folders, or folders named after
        parts of a data set.
    """
    require_folder(root)
    folders = subfolders(root)
    loose = picture_files(root)
    if loose:
        raise DataError(
            f"root = {root} holds {len(loose)} files outside any sub-folder "
            f"({examples(loose)}); give each person a sub-folder, or use data=ffhq for "
            "pictures of unknown people"
        )
    if not folders:
        raise DataError(f"root = {root} has no sub-folders; it needs one for each person")
    if {folder.name.lower() for folder in folders} <= _PARTS:
        raise DataError(
            f"root = {root} has the sub-folders {examples(folders)}, which are parts of a data "
            "set, not people; give one of them as data.root, or use data=celebahq for pictures "
            "sorted by domain"
        )
    for folder in folders:
        pictures = picture_files(folder)
        if not pictures and subfolders(folder):
            raise DataError(
                f"root = {root}: {folder.name} holds folders ({examples(subfolders(folder))}) "
                "and no pictures; data.root must be the folder whose sub-folders are people. "
                "For pictures sorted by domain use data=celebahq"
            )
        yield folder.name, pictures


def relative(path: Path, root: Path) -> str:
    """Return the path below `root` with forward slashes, printable whatever its bytes."""
    name = path.relative_to(root).as_posix()
    return name.encode("utf-8", "backslashreplace").decode()


def examples(paths: list[Path]) -> str:
    """Return the first few names, and that there are more."""
    return ", ".join(p.name for p in paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")


def find_one(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of `names` that exists below `root`."""
    return next((root / name for name in names if (root / name).exists()), None)


def _visible(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from error
    return paths
