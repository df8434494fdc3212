"""Labeled Faces in the Wild, as its authors distribute it."""

import re
from dataclasses import dataclass
from pathlib import Path

from experiments.data.errors import DataError
from experiments.data.layouts.base import Entry, Layout, people_in_folders, relative

_NUMBERED = re.compile(r"(?P<person>.+)_(?P<number>\d{4})\.[A-Za-z]+")


@dataclass(frozen=True)
class Lfw(Layout):
    """``root/<Name>/<Name>_<nnnn>.jpg``; also the deep-funneled and funneled editions."""

    def entries(self) -> list[Entry]:
        """List the pictures; a picture that bears another person's name is an error."""
        out = []
        for person, pictures in people_in_folders(self.root):
            for path in pictures:
                match = _NUMBERED.fullmatch(path.name)
                if match is None or match["person"] != person:
                    raise DataError(
                        f"{relative(path, self.root)}: LFW names pictures "
                        f"{person}_0001.jpg and so on; use data=folder for other names"
                    )
                out.append(Entry(relative(path, self.root), path, person=person))
        return out


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures to compare.

    Attributes
    ----------
    a, b : str
        Files as LFW's reader names them.
    same : bool
        Whether they show one person.
    fold : int
        Which of the disjoint sets, from 0.
    """

    a: str
    b: str
    same: bool
    fold: int


def read_pairs(path: Path) -> list[Pair]:
    """Read LFW's ``pairs.txt``: folds of matched, then mismatched pairs.

    Raises
    ------
    DataError
        The file is not laid out that way; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    try:
        head = [int(number) for number in lines[0].split()]
        folds, count = head if len(head) == 2 else (1, head[0])
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{path}, line 1: expected the number of folds and of pairs, as in '10 300'"
        ) from error
    pairs: list[Pair] = []
    for number, line in enumerate(lines[1 : 1 + 2 * folds * count], start=2):
        fold = len(pairs) // (2 * count)
        match line.split("\t") if "\t" in line else line.split():
            case [name, i, j] if i.isdigit() and j.isdigit():
                pairs.append(Pair(_file(name, i), _file(name, j), same=True, fold=fold))
            case [a, i, b, j] if i.isdigit() and j.isdigit():
                pairs.append(Pair(_file(a, i), _file(b, j), same=False, fold=fold))
            case _:
                raise DataError(
                    f"{path}, line {number}: expected 'name i j' or 'name i name j', got {line!r}"
                )
    if len(pairs) != 2 * folds * count:
        raise DataError(f"{path} ends after {len(pairs)} of {2 * folds * count} pairs")
    return pairs


def _file(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"
