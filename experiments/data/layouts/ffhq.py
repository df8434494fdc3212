"""FFHQ and other pictures of unknown people: flat, or in numbered folders."""

from dataclasses import dataclass

from experiments.data.errors import DataError
from experiments.data.layouts.base import (
    Entry,
    Layout,
    examples,
    picture_files,
    relative,
    require_folder,
    subfolders,
)


@dataclass(frozen=True)
class Ffhq(Layout):
    """``root/<picture>`` or ``root/<00000>/<picture>``; nobody is named."""

    def entries(self) -> list[Entry]:
        """List the pictures in the order of their names."""
        require_folder(self.root)
        folders = subfolders(self.root)
        if named := [folder for folder in folders if not folder.name.isdigit()]:
            raise DataError(
                f"root = {self.root} has sub-folders that are no numbers ({examples(named)}); "
                "FFHQ's are 00000, 01000, ... For folders of people use data=folder, for "
                "domains data=celebahq"
            )
        pictures = [path for folder in (self.root, *folders) for path in picture_files(folder)]
        if not pictures:
            raise DataError(f"root = {self.root} holds no pictures; give their folder as data.root")
        return [Entry(relative(path, self.root), path) for path in pictures]
