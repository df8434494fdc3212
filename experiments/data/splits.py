"""Train, attacker and test people: no person, no second name and no picture in two parts.

A person's part follows from the hash of the name alone, so it stays the same when people are
added or left out. `aliases.csv` lists names that are, or may be, one person (LFW's errata and
names whose faces match); joining two names that are not costs nothing but a little freedom.
"""

import csv
import hashlib
import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from experiments.data.errors import DataError

if TYPE_CHECKING:
    from experiments.data.crops import FaceCrops

PARTS = ("train", "attacker", "test")
FRACTIONS = (0.6, 0.2, 0.2)
FEWEST = 2  # people in a part: fewer give no pair of different people
FILE_HASH = "file_sha256"  # attribute of crops, uint8 (N, 32)


def canonical_name(name: str) -> str:
    """Return the name under which `name` is split: its own unless it is a known alias."""
    return _aliases().get(name, name)


def split_people(
    names: Iterable[str],
    fractions: Sequence[float] = FRACTIONS,
    *,
    same: Iterable[tuple[str, str]] = (),
) -> dict[str, set[str]]:
    r"""Divide people into the parts "train", "attacker" and "test".

    The first 64 bits of SHA-256 of the canonical name, over :math:`2^{64}`, lie in one of three
    intervals as long as the fractions. If that leaves a part with fewer than two people, those
    of the largest part whose hashes are nearest to its interval move there.

    Parameters
    ----------
    names : iterable of str
        Names of the people; repetitions count once.
    fractions : sequence of 3 floats, default (0.6, 0.2, 0.2)
        Share of each part; they sum to 1, and a part with share 0 stays empty.
    same : iterable of (str, str)
        Further pairs of names to keep together.

    Raises
    ------
    DataError
        There are too few people for two in every part.
    """
    shares = tuple(float(f) for f in fractions)
    if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(
            f"fractions = {shares}, expected three numbers from 0 to 1 that sum to 1: train, "
            "attacker, test"
        )
    groups = _groups(set(names), same)
    place = {head: _place(head) for head in groups}
    wanted = [i for i in range(3) if shares[i] > 0]
    if len(groups) < FEWEST * len(wanted):
        raise DataError(
            f"people = {len(groups)}, at least {FEWEST * len(wanted)} are needed for "
            f"{', '.join(PARTS[i] for i in wanted)} ({FEWEST} each); add people, or give a part "
            "the fraction 0"
        )
    edges = [0.0, shares[0], shares[0] + shares[1], 1.0]
    part = {
        h: next(i for i in wanted if p < edges[i + 1] or i == wanted[-1]) for h, p in place.items()
    }
    for i in wanted:
        while sum(p == i for p in part.values()) < FEWEST:
            largest = max(wanted, key=lambda j: (sum(p == j for p in part.values()), -j))
            middle = (edges[i] + edges[i + 1]) / 2
            moved = min(
                (h for h, p in part.items() if p == largest),
                key=lambda h: (abs(place[h] - middle), h),
            )
            part[moved] = i
    out: dict[str, set[str]] = {name: set() for name in PARTS}
    for head, members in groups.items():
        out[PARTS[part[head]]] |= members
    return out


def check_disjoint(a: "FaceCrops", b: "FaceCrops") -> None:
    """Raise DataError if a person, under any known name, or a picture file is in both."""
    ours, theirs = (
        {canonical_name(n): n for n in (c.names[i] for i in np.unique(c.person) if i >= 0)}
        for c in (a, b)
    )
    if shared := sorted(ours.keys() & theirs.keys()):
        pairs = ", ".join(
            ours[n] if ours[n] == theirs[n] else f"{ours[n]} (= {theirs[n]})" for n in shared[:10]
        )
        raise DataError(
            f"{len(shared)} people are in both parts: {pairs}; split with split_people, which "
            "keeps every person in one part"
        )
    first, second = _file_hashes(a), _file_hashes(b)
    if common := sorted(first.keys() & second.keys()):
        pairs = "; ".join(f"{first[h][0]} = {second[h][0]}" for h in common[:10])
        raise DataError(
            f"{len(common)} pictures are in both parts, byte for byte: {pairs}; delete one of "
            "each, or list the names as one person in aliases.csv"
        )


def same_pictures(crops: "FaceCrops") -> list[tuple[str, ...]]:
    """Return the groups of files that are the same, byte for byte."""
    return sorted(tuple(group) for group in _file_hashes(crops).values() if len(group) > 1)


def people_in_same_picture(crops: "FaceCrops") -> list[tuple[str, str]]:
    """Return pairs of names that share a picture file, byte for byte."""
    named = dict(zip(crops.files, crops.person.tolist(), strict=True))
    pairs = set()
    for group in same_pictures(crops):
        people = sorted({crops.names[named[f]] for f in group if named[f] >= 0})
        pairs |= {(people[0], other) for other in people[1:]}
    return sorted(pairs)


def _file_hashes(crops: "FaceCrops") -> dict[bytes, list[str]]:
    column = crops.attributes.get(FILE_HASH)
    out: dict[bytes, list[str]] = {}
    if column is not None:
        for file, row in zip(crops.files, column, strict=True):
            out.setdefault(row.tobytes(), []).append(file)
    return out


def _place(name: str) -> float:
    """Return a number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a double


def _groups(names: set[str], same: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the names joined to people, each under one head name."""
    head = {canonical_name(n): canonical_name(n) for n in names}

    def find(name: str) -> str:
        while head[name] != name:
            name = head[name]
        return name

    for a, b in same:
        if a in names and b in names:
            low, high = sorted((find(canonical_name(a)), find(canonical_name(b))))
            head[high] = low
    out: dict[str, set[str]] = {}
    for name in names:
        out.setdefault(find(canonical_name(name)), set()).add(name)
    return dict(sorted(out.items()))


@cache
def _aliases() -> dict[str, str]:
    text = files("experiments.data").joinpath("aliases.csv").read_text(encoding="utf-8")
    table = {row["name"]: row["canonical"] for row in csv.DictReader(text.splitlines())}
    return {name: table.get(canonical, canonical) for name, canonical in table.items()}
