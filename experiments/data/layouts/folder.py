"""Folders of people: one sub-folder for each person, pictures in it under any name."""

from dataclasses import dataclass

from experiments.data.layouts.base import Entry, Layout, people_in_folders, relative


@dataclass(frozen=True)
class Folder(Layout):
    """``root/<person>/<any picture>``."""

    def entries(self) -> list[Entry]:
        """List the pictures, person by person."""
        return [
            Entry(relative(path, self.root), path, person=person)
            for person, pictures in people_in_folders(self.root)
            for path in pictures
        ]
