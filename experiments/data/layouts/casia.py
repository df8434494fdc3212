"""CASIA-WebFace: numbered folders of people, or a list of pictures and labels."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from experiments.data.errors import DataError
from experiments.data.layouts.base import (
    Entry,
    Layout,
    people_in_folders,
    relative,
    require_folder,
)


@dataclass(frozen=True)
class Casia(Layout):
    """``root/<0000045>/<001>.jpg``, or pictures named in a list.

    Attributes
    ----------
    listing : str
        File below the root with one picture in each line: ``path label``, or the three columns
        ``number path label`` of aligned editions; "" to use the folders.
    """

    listing: str = ""

    def entries(self) -> list[Entry]:
        """List the pictures, person by person or in the order of the list."""
        require_folder(self.root)
        if self.listing:
            return self._listed(self.root / self.listing)
        out = []
        for person, pictures in people_in_folders(self.root):
            if not person.isdigit():
                raise DataError(
                    f"root = {self.root}: CASIA-WebFace's folders are numbers, not {person!r}; "
                    "use data=folder for people with names"
                )
            out += [Entry(relative(p, self.root), p, person=person) for p in pictures]
        return out

    def _listed(self, path: Path) -> list[Entry]:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"listing = {path} cannot be read: {error}") from error
        out = []
        for number, line in enumerate(lines, start=1):
            columns = line.split("\t") if "\t" in line else line.split()
            match columns:
                case []:
                    continue
                case [name, label] | [_, name, label] if label.strip().isdigit():
                    parts = PurePosixPath(name)
                    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
                        raise DataError(
                            f"{path}, line {number}: {name!r} is not a path below the root"
                        )
                    out.append(Entry(str(parts), self.root / parts, person=label.strip()))
                case _:
                    raise DataError(
                        f"{path}, line {number}: expected 'path label' or 'number path label', "
                        f"got {line!r}"
                    )
        if not out:
            raise DataError(f"listing = {path} names no pictures")
        return out
