"""A journal holds whole events, in order, or says that it does not."""

import errno
import os

import pytest

from hardware.session.journal import Journal
from hardware.storage import ArtifactError, ResourceError


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(3):
        journal.append("frame", number=number)
    return journal.path


def numbers(path):
    return [entry["number"] for entry in Journal(path).entries]


@pytest.mark.parametrize("tail", [b'{"chain": "0', b"\0" * 300, b'{"chain": "x", "entry": {}}'])
def test_a_torn_last_line_never_counted_and_is_gone_with_the_next(path, tail):
    with path.open("ab") as file:
        file.write(tail)
    journal = Journal(path)
    assert [entry["number"] for entry in journal.entries] == [0, 1, 2]
    journal.append("frame", number=3)
    assert numbers(path) == [0, 1, 2, 3]
    assert tail not in path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[1].replace(b'"number": 1', b'"number": 7'), lines[2]],
        lambda lines: [lines[0], b"{}\n", lines[2]],
        lambda lines: [lines[0], b"\0\0\n", lines[2]],
    ],
    ids=["removed", "exchanged", "changed", "other", "zeroed"],
)
def test_any_other_damage_is_found(path, damage):
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(ArtifactError, match=r"line \d (is damaged|does not follow)"):
        Journal(path)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_at_the_disk_leaves_it_sound(path, monkeypatch, when):
    """The line may or may not be there; the next one follows either way."""
    journal, real = Journal(path), os.fsync

    def interrupted(handle):
        if when == "after":
            real(handle)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.append("frame", number=3)
    monkeypatch.undo()
    journal.append("frame", number=4)
    assert numbers(path) in ([0, 1, 2, 4], [0, 1, 2, 3, 4])
    assert [entry["number"] for entry in journal.entries] == numbers(path)


def test_a_full_disk_is_a_resource_error_and_the_event_does_not_count(path, monkeypatch):
    journal = Journal(path)

    def full(handle):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 5)  # half a line fitted
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left on device; what it holds so far"):
        journal.append("frame", number=3)
    monkeypatch.undo()
    journal.append("frame", number=4)
    assert numbers(path) == [0, 1, 2, 4]
