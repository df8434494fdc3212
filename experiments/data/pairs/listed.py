"""Pairs in a CSV list, over crops that a second list finds in ZIP archives."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.errors import DataError
from experiments.data.layouts.zip import MemberReader
from experiments.data.pairs.base import FacePairs, PairLayout, numbered

_MAX_BYTES = 4 * 2**20  # of one crop


@dataclass(frozen=True)
class ListedPairs(PairLayout):
    """`root/pairs` with columns fold, same, a, b and `root/index` with identity, image, aligned112.

    A place is written `archive.zip:member`.

    Attributes
    ----------
    pairs : str
        The list of pairs.
    index : str
        The list of pictures.
    """

    pairs: str
    index: str

    def read(self) -> FacePairs:
        """Read both lists; a pair whose picture the index lacks is an error."""
        rows = _table(self.root / self.pairs, ("fold", "same", "a", "b"))
        index = {
            row["image"]: row
            for row in _table(self.root / self.index, ("identity", "image", "aligned112"))
        }
        if absent := [r[k] for r in rows for k in "ab" if r[k] not in index]:
            raise DataError(
                f"{self.root / self.index} lacks {len(absent)} pictures of {self.pairs}: "
                f"{', '.join(absent[:3])}; take both lists from one release"
            )
        names, picture = numbered([r[k] for r in rows for k in "ab"])
        _, person = numbered([index[r[k]]["identity"] for r in rows for k in "ab"])
        places = [index[name]["aligned112"].rpartition(":") for name in names]
        for archive, _, _ in places:
            if not archive or Path(archive).is_absolute() or ".." in Path(archive).parts:
                raise DataError(
                    f"{self.root / self.index}: aligned112 names {archive!r}, expected "
                    f"archive.zip:member below {self.root}"
                )
        archives = MemberReader()

        def encoded(row: int) -> bytes:
            archive, _, member = places[row]
            return archives.read(self.root / archive, member, _MAX_BYTES)

        return FacePairs(
            names,
            encoded,
            pairs=picture.reshape(-1, 2),
            same=np.array([_flag(r["same"], self.pairs) for r in rows]),
            fold=np.array([_number(r["fold"], self.pairs) for r in rows]),
            people=person.reshape(-1, 2),
        )


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}; give its folder as pairs.root") from error
    if not rows or (lacking := [c for c in columns if rows[0].get(c) is None]):
        raise DataError(f"{path} has no {'rows' if not rows else ', '.join(lacking)}")
    return rows


def _flag(text: str, name: str) -> bool:
    if text not in ("0", "1"):
        raise DataError(f"{name}: same = {text!r}, expected 0 or 1")
    return text == "1"


def _number(text: str, name: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{name}: fold = {text!r}, expected a number")
    return int(text)
