"""Frames on disk come back bit for bit with all that is known about them, or not at all."""

import dataclasses
import json

import numpy as np
import pytest
import tifffile

from hardware.frames import RawFrame, Roi
from hardware.session.frames import damage, frame_paths, read_about, read_frame, write_frame
from hardware.storage import ArtifactError


def some_frame(shape=(6, 10)):
    mosaic = np.random.default_rng(1).integers(0, 4096, shape).astype(np.uint16)
    whole = RawFrame(
        mosaic, "RGGB", 12, (256.0, 257.0, 258.0, 259.5), 4095.0, 1e-3, 1.0, 123456789012345678,
        1.001e-3, 1.0, False, metadata={"lux": np.float32(3.5), "gains": (1.0, 2.0), "on": True},
    )  # fmt: skip
    return whole.crop(Roi(1, 2, shape[0] - 1, shape[1] - 2))


@pytest.mark.parametrize("shape", [(6, 10), (7, 10), (5, 13)])
@pytest.mark.parametrize("compress", [False, True])
def test_a_frame_comes_back_bit_for_bit(tmp_path, shape, compress):
    frame = some_frame(shape)
    stored = write_frame(tmp_path, 3, frame, {"step": "a"}, compress=compress)
    found = read_frame(tmp_path, 3, stored)
    np.testing.assert_array_equal(found.mosaic, frame.mosaic)
    same = [f.name for f in dataclasses.fields(frame) if f.name not in ("mosaic", "metadata")]
    assert all(getattr(found, name) == getattr(frame, name) for name in same)
    assert found.metadata == {"lux": 3.5, "gains": [1.0, 2.0], "on": True}
    assert (found.cfa, found.origin) == ("GBRG", (1, 2))
    assert damage(tmp_path, 3, stored, whole=True) == ""


def test_the_tiff_alone_says_what_it_is(tmp_path):
    write_frame(tmp_path, 3, some_frame(), {"step": "a", "position": {"z": 0.1}})
    with tifffile.TiffFile(frame_paths(tmp_path, 3)[0]) as file:
        told = json.loads(file.pages[0].description)
    assert (told["step"], told["position"], told["cfa"]) == ("a", {"z": 0.1}, "GBRG")
    assert told.items() <= read_about(tmp_path, 3).items()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["flipped", "short", "missing"])
def test_damage_of_either_file_is_found(tmp_path, which, kind):
    stored = write_frame(tmp_path, 3, some_frame(), {"step": "a"})
    path = frame_paths(tmp_path, 3)[which]
    data = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data[:-1] if kind == "short" else data)
    assert damage(tmp_path, 3, stored, whole=True)
    assert bool(damage(tmp_path, 3, stored, whole=False)) == (kind != "flipped")
    with pytest.raises(ArtifactError):
        read_frame(tmp_path, 3, stored)


def test_without_a_journal_the_json_file_vouches_for_the_tiff(tmp_path):
    write_frame(tmp_path, 3, some_frame(), {"step": "a"})
    path = frame_paths(tmp_path, 3)[0]
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(ArtifactError, match="is damaged"):
        read_frame(tmp_path, 3)


def test_a_compressed_flat_takes_less_than_half(tmp_path):
    flat = np.random.default_rng(2).normal(2000, 3, (200, 300)).round().astype(np.uint16)
    frame = dataclasses.replace(some_frame(), mosaic=flat)
    plain = write_frame(tmp_path, 1, frame, {}).size
    assert write_frame(tmp_path, 2, frame, {}, compress=True).size < plain / 2
