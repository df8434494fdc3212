"""Templates in an SQLite file, turned by a key that lies elsewhere.

What the file holds is the rotated embedding of each person (`anonymizer.recognition.templates`).
Without the key it says nothing of the face and cannot be linked with the store of another key; a
thief who has both has the embeddings. A forgotten person's bytes are overwritten.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from anonymizer.keystream import stream
from anonymizer.recognition.templates import RotatedTemplate

MOST_PEOPLE = 100_000
"""Most people of one store."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE store (key_name BLOB NOT NULL, model BLOB NOT NULL, dimension INTEGER NOT NULL);
CREATE TABLE people (person TEXT PRIMARY KEY, template BLOB NOT NULL) WITHOUT ROWID;
"""


class StoreError(RuntimeError):
    """The file of templates cannot be used: damaged, foreign, or of another key or model."""


class UnknownPerson(LookupError):
    """Nobody of that name is enrolled."""


@dataclass(frozen=True)
class Likeness:
    """A person, and the cosine of their template and a face."""

    person: str
    cosine: float


class TemplateStore:
    """Who is enrolled; safe to use from several threads.

    Parameters
    ----------
    path : Path
        The SQLite file; made, for its owner alone, where there is none.
    key : bytes
        32 bytes that the templates are turned by.
    model : bytes
        Which recogniser's embeddings they are; a store serves one.
    dimension : int
        Length of an embedding, a power of two.

    Raises
    ------
    StoreError
        If the file belongs to another key or model, or is no store.
    """

    def __init__(self, path: Path, key: bytes, *, model: bytes, dimension: int) -> None:
        self._template, self._key, self._dimension = RotatedTemplate(), key, dimension
        self._lock = threading.Lock()
        self.path = path
        with _explained(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            with _explained(path):
                self._open(stream(key, 16, "name of a template store"), model)
        except StoreError:
            self._database.close()
            raise

    def _open(self, key_name: bytes, model: bytes) -> None:
        self._database.execute("PRAGMA secure_delete = ON")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        empty = not self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and empty:
            with self._database:
                self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION};")
                row = (key_name, model, self._dimension)
                self._database.execute("INSERT INTO store VALUES (?, ?, ?)", row)
                self._database.execute("COMMIT")
            return
        if version != _VERSION:
            raise StoreError(f"{self.path} is no store of templates of version {_VERSION}")
        found = self._database.execute("SELECT key_name, model, dimension FROM store").fetchone()
        if found is None or found[0] != key_name:
            raise StoreError(f"{self.path} was made with another key; give that one or a new file")
        if found[1:] != (model, self._dimension):
            raise StoreError(
                f"{self.path} holds templates of another recogniser; enrol anew in a new file"
            )

    def enrol(self, person: str, embedding: Tensor) -> int:
        """Store a person's template, in place of an older one, and return how many there are.

        Raises
        ------
        OverflowError
            If the store is full.
        """
        template = self._turned(embedding)[0].numpy().tobytes()
        with self._lock, _explained(self.path):
            count = self._count()
            if count >= MOST_PEOPLE and not self._known(person):
                raise OverflowError(f"the store holds {MOST_PEOPLE} people and takes no more")
            self._database.execute(
                "INSERT INTO people VALUES (?, ?) "
                "ON CONFLICT (person) DO UPDATE SET template = excluded.template",
                (person, template),
            )
            return self._count()

    def verify(self, person: str, embedding: Tensor) -> float:
        """Return the cosine of a person's template and an embedding (1, D).

        Raises
        ------
        UnknownPerson
            If nobody of that name is enrolled.
        """
        with self._lock, _explained(self.path):
            query = "SELECT template FROM people WHERE person = ?"
            row = self._database.execute(query, (person,)).fetchone()
        if row is None:
            raise UnknownPerson("nobody of that name is enrolled")
        return float(self._compare([row[0]], embedding)[0])

    def identify(self, embedding: Tensor, most: int) -> list[Likeness]:
        """Return the `most` likest people, the likest first."""
        with self._lock, _explained(self.path):
            rows = self._database.execute("SELECT person, template FROM people").fetchall()
        if not rows:
            return []
        cosines = self._compare([template for _, template in rows], embedding)
        best = cosines.topk(min(most, len(rows)))
        return [
            Likeness(rows[i][0], cosine)
            for cosine, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def forget(self, person: str) -> None:
        """Remove a person.

        Raises
        ------
        UnknownPerson
            If nobody of that name is enrolled.
        """
        with self._lock, _explained(self.path):
            done = self._database.execute("DELETE FROM people WHERE person = ?", (person,))
        if not done.rowcount:
            raise UnknownPerson("nobody of that name is enrolled")

    def __len__(self) -> int:
        """Return how many people are enrolled."""
        with self._lock, _explained(self.path):
            return self._count()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM people").fetchone()[0])

    def _known(self, person: str) -> bool:
        query = "SELECT 1 FROM people WHERE person = ?"
        return self._database.execute(query, (person,)).fetchone() is not None

    def _turned(self, embedding: Tensor) -> Tensor:
        if tuple(embedding.shape) != (1, self._dimension):
            raise ValueError(
                f"embedding is {tuple(embedding.shape)}, expected (1, {self._dimension})"
            )
        return self._template.protect(embedding.detach().float().cpu(), self._key)

    def _compare(self, templates: list[bytes], embedding: Tensor) -> Tensor:
        if any(len(template) != 4 * self._dimension for template in templates):
            raise StoreError(f"{self.path} is damaged: a template has a wrong length")
        stored = torch.frombuffer(bytearray(b"".join(templates)), dtype=torch.float32)
        return self._template.compare(stored.reshape(-1, self._dimension), self._turned(embedding))[
            :, 0
        ]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the store of templates {path}: {error}") from error
