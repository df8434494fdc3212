"""CelebA, aligned and cropped edition, with its identity list."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.data.errors import DataError
from experiments.data.layouts.base import Entry, Layout, find_one, require_folder

_PICTURES = ("img_align_celeba", "Img/img_align_celeba", "img_align_celeba/img_align_celeba")
_IDENTITIES = ("identity_CelebA.txt", "Anno/identity_CelebA.txt")
_FIVE = ("list_landmarks_align_celeba.txt", "Anno/list_landmarks_align_celeba.txt")


@dataclass(frozen=True)
class CelebA(Layout):
    """Pictures in ``img_align_celeba/``, people in ``identity_CelebA.txt``.

    Both in the root or in the folders ``Img`` and ``Anno`` of the distribution. Five landmarks
    are taken from ``list_landmarks_align_celeba.txt`` if it is there, and spare the detector.
    """

    def entries(self) -> list[Entry]:
        """List the pictures that the identity list names, in its order."""
        require_folder(self.root)
        folder, identities = find_one(self.root, _PICTURES), find_one(self.root, _IDENTITIES)
        if folder is None or identities is None:
            missing = _PICTURES[0] + "/" if folder is None else _IDENTITIES[0]
            raise DataError(
                f"root = {self.root} lacks {missing}; unpack img_align_celeba.zip and put "
                "identity_CelebA.txt beside it (both come with CelebA)"
            )
        five_list = find_one(self.root, _FIVE)
        five = _read_five(five_list) if five_list else {}
        out = []
        for number, line in enumerate(_lines(identities), start=1):
            match line.split():
                case [name, person] if person.isdigit() and "/" not in name and "\\" not in name:
                    path = folder / name
                    entry = Entry(
                        path.relative_to(self.root).as_posix(),
                        path,
                        person=person,
                        five=five.get(name),
                    )
                    out.append(entry)
                case []:
                    continue
                case _:
                    raise DataError(
                        f"{identities}, line {number}: expected '000001.jpg 2880', got {line!r}"
                    )
        return out


def _read_five(path: Path) -> dict[str, NDArray[np.float32]]:
    out = {}
    for number, line in enumerate(_lines(path)[2:], start=3):  # count, column names
        name, *values = line.split() or [""]
        try:
            points = np.array([float(v) for v in values], np.float32).reshape(5, 2)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: expected a file name and ten numbers, got {line!r}"
            ) from error
        out[name] = points
    return out


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
