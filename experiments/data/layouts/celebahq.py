"""CelebA-HQ: pictures sorted by domain or not at all; nobody is named."""

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
class CelebAHQ(Layout):
    """``root/<domain>/<picture>`` or ``root/<picture>``.

    The domain ("female", "male") becomes an attribute. Without people the pictures serve
    landmarks and picture quality, not re-identification.
    """

    def entries(self) -> list[Entry]:
        """List the pictures, domain by domain."""
        require_folder(self.root)
        domains = [("", picture_files(self.root))]
        domains += [(folder.name, picture_files(folder)) for folder in subfolders(self.root)]
        out = [
            Entry(relative(path, self.root), path, labels={"domain": domain})
            for domain, pictures in domains
            for path in pictures
        ]
        if not out:
            raise DataError(
                f"root = {self.root} holds no pictures, nor do its sub-folders "
                f"({examples(subfolders(self.root)) or 'there are none'}); give the folder of "
                "the pictures or of the domains as data.root"
            )
        return out
