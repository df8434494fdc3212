"""Crops in memory, the store on disk, and what interruptions and damage do to it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.data.crop_store import build_store, fingerprint, open_store
from experiments.data.crops import FaceCrops, Rows, Shard
from experiments.data.errors import DataError
from experiments.store import ArtifactError

ROOT = Path(__file__).resolve().parents[3]
SIZES = (5, 0, 4)  # crops in the shards; one has none


def shard(number, size=8):
    """Return a shard that depends on its number alone."""
    n, random = SIZES[number], np.random.default_rng(number)
    return Shard(
        images=random.integers(256, size=(n, size, size, 3), dtype=np.uint8),
        landmarks=random.random((n, 68, 2), dtype=np.float32) * size,
        people=[None if i == 0 else f"person {i}" for i in range(n)],
        files=[f"{number}/{i}.png" for i in range(n)],
        attributes={"yaw": random.random(n)},
        refused=[(f"{number}/bad.png", "empty", "the file is empty (0 bytes)")],
        counts={"pictures": n + 1},
    )


def make(first):
    for number in range(first, len(SIZES)):
        yield shard(number)


def build(folder, make=make, key="k", **changes):
    arguments = {
        "n_shards": 3, "key": key, "size": 8, "context": 1.7,
        "source": {"reader": "test"}, "expected_faces": 9,
    }  # fmt: skip
    return build_store(folder, make, **(arguments | changes))


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def faces(n=7, size=6):
    random = np.random.default_rng(0)
    return FaceCrops(
        images=random.integers(256, size=(n, size, size, 3), dtype=np.uint8),
        landmarks=random.random((n, 68, 2), dtype=np.float32),
        person=np.arange(n) % 3 - (np.arange(n) == 6),
        names=("a", "b", "c"),
        files=tuple(f"{i}.png" for i in range(n)),
        context=1.5,
        attributes={"yaw": np.arange(n) / 10},
    )


def test_a_store_returns_what_was_put_in(tmp_path):
    crops = build(tmp_path / "s")
    assert isinstance(crops.images, np.memmap)
    np.testing.assert_array_equal(crops.images, np.concatenate([shard(i).images for i in range(3)]))
    np.testing.assert_array_equal(crops.landmarks[5:], shard(2).landmarks)
    np.testing.assert_array_equal(crops.attributes["yaw"][:5], shard(0).attributes["yaw"])
    assert crops.files[5] == "2/0.png"
    assert [crops.names[i] if i >= 0 else None for i in crops.person[5:]] == shard(2).people
    assert crops.source["counts"] == {"crops": 9, "people": 4, "pictures": 12}
    assert crops.source["refused"][1] == {
        "file": "1/bad.png", "kind": "empty", "reason": "the file is empty (0 bytes)",
    }  # fmt: skip


def test_the_second_call_makes_nothing(tmp_path):
    build(tmp_path / "s")

    def fail(first):
        raise AssertionError(first)

    assert len(build(tmp_path / "s", fail)) == 9


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_an_interrupted_store_goes_on_and_ends_the_same(tmp_path, stop):
    def interrupted(first):
        for number in range(first, len(SIZES)):
            if number == stop:
                raise KeyboardInterrupt
            yield shard(number)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a", interrupted)
    with (tmp_path / "a" / "images.u8").open("ab") as file:
        file.write(b"half a shard")  # written, but its record never was
    asked = []
    build(tmp_path / "a", lambda first: (asked.append(first), make(first))[1])
    build(tmp_path / "b")
    assert asked == [stop]
    assert contents(tmp_path / "a").keys() == {"images.u8", "faces.npz", "index.json"}
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


KILLED = """
import sys, time
from tests.experiments.data import test_crops as t
def slow(first):
    for number in range(first, 3):
        time.sleep(0.15)
        print(number, flush=True)
        yield t.shard(number)
t.build(t.Path(sys.argv[1]), slow)
"""


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_killed_process_loses_at_most_one_shard(tmp_path, delay):
    folder = tmp_path / "a"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        for _ in range(2):  # two shards were begun, so the first is kept
            process.stdout.readline()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
    assert not (folder / "index.json").exists()
    (folder / "shards" / ".00001.npz.0a.tmp").write_bytes(b"cut short")  # a kill may leave one
    asked = []
    build(folder, lambda first: (asked.append(first), make(first))[1])
    assert asked[0] >= 1
    build(tmp_path / "b")
    assert contents(folder) == contents(tmp_path / "b")


def test_a_damaged_shard_record_is_made_again(tmp_path):
    def two(first):
        yield shard(0)
        yield shard(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a", two)
    record = tmp_path / "a" / "shards" / "00001.npz"
    record.write_bytes(record.read_bytes()[:-20])
    build(tmp_path / "a")
    build(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", ["images.u8", "faces.npz", "index.json"])
def test_a_changed_byte_is_noticed_and_the_remedy_named(tmp_path, name):
    build(tmp_path / "s")
    path = tmp_path / "s" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=name):
        open_store(tmp_path / "s")


def test_a_cut_image_file_is_noticed(tmp_path):
    build(tmp_path / "s")
    with (tmp_path / "s" / "images.u8").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ArtifactError, match=r"has 100 bytes, expected 1728; delete"):
        open_store(tmp_path / "s")


def test_a_store_of_other_data_is_refused(tmp_path):
    build(tmp_path / "s")
    with pytest.raises(DataError, match="crops of other data"):
        build(tmp_path / "s", key="other")


def test_an_unfinished_store_of_other_data_is_refused(tmp_path):
    def none(first):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "s", none)
    with pytest.raises(DataError, match="unfinished crops of other data"):
        build(tmp_path / "s", key="other")


def test_a_store_of_a_later_format_is_refused(tmp_path):
    build(tmp_path / "s")
    path = tmp_path / "s" / "index.json"
    content = json.loads(path.read_text())["content"] | {"format": 99}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "content": content}))
    with pytest.raises(ArtifactError, match="format 99"):
        open_store(tmp_path / "s")


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"index\.json"):
        open_store(tmp_path / "none")


def test_a_shard_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(5, 9, 9, 3\)"):
        build(tmp_path / "s", lambda first: iter([shard(0, size=9)]))


def test_fingerprint_ignores_the_order_of_keys():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_subset_keeps_rows_together():
    crops = faces()
    chosen = crops.subset([4, 1])
    assert isinstance(chosen.images, Rows)
    np.testing.assert_array_equal(chosen.images[:], crops.images[[4, 1]])
    for index in [(1, slice(2, 4), slice(None, None, 2)), (slice(None), 3), (..., 0), ([1, 0], 2)]:
        np.testing.assert_array_equal(chosen.images[index], crops.images[[4, 1]][index])
    np.testing.assert_array_equal(chosen.landmarks, crops.landmarks[[4, 1]])
    np.testing.assert_array_equal(chosen.attributes["yaw"], [0.4, 0.1])
    assert chosen.files == ("4.png", "1.png")


def test_subset_of_a_subset_counts_in_the_subset():
    crops = faces()
    chosen = crops.subset([6, 3, 2]).subset(np.array([False, True, True]))
    assert chosen.files == ("3.png", "2.png")
    np.testing.assert_array_equal(np.asarray(chosen.images), crops.images[[3, 2]])


def test_an_empty_subset_is_empty():
    chosen = faces().subset([])
    assert len(chosen) == 0
    assert chosen.images.shape == (0, 6, 6, 3)


def test_of_people_leaves_out_the_unknown():
    assert faces().of_people({"a", "c"}).files == ("0.png", "2.png", "3.png", "5.png")


def test_face_width_follows_from_size_and_context():
    assert faces().face_width_px == pytest.approx(6 / 1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((7, 6, 5, 3), np.uint8)}, r"expected uint8 \(N, S, S, 3\)"),
        ({"landmarks": np.zeros((7, 5, 2), np.float32)}, r"expected \(7, 68, 2\)"),
        ({"person": np.full(7, 3)}, "person must be -1 to 2"),
        ({"files": ("a",)}, "files has 1 rows, expected 7"),
        ({"attributes": {"yaw": np.zeros(3)}}, "yaw has 3 rows"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, message):
    whole = {n: getattr(faces(), n) for n in FaceCrops.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        FaceCrops(**(whole | change))
