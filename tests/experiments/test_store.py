"""Artefacts are whole or absent, and damage of any kind is found."""

import errno
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from experiments import store
from experiments.store import ArtifactError, ResourceError
from hardware import storage

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}


# Writing


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_file_alone(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    store.atomic_write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif call == "replace":
        monkeypatch.setattr(type(path), "replace", full)
    content = full if call == "write" else b"new"
    with pytest.raises(ResourceError, match=r"No space left on device; the previous version is"):
        store.atomic_write(path, content)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_an_interrupt_while_writing_leaves_the_old_file_alone(tmp_path):
    store.atomic_write(tmp_path / "file", b"old")

    def interrupted(file):
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.atomic_write(tmp_path / "file", interrupted)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_readers_never_see_a_part_of_a_file(tmp_path):
    path, contents = tmp_path / "file", {bytes([n]) * 200_000 for n in (65, 66)}
    store.atomic_write(path, b"A" * 200_000)
    done = threading.Event()

    def write():
        for _ in range(30):
            for content in contents:
                store.atomic_write(path, content)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()


def test_too_little_room_is_found_before_the_work(tmp_path):
    store.require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(ResourceError, match=r"free space in .* MiB are needed"):
        store.require_space(tmp_path, 2**60)


# Reading


def test_tensors_come_back_with_their_metadata(tmp_path):
    path = tmp_path / "mask.safetensors"
    view = TENSORS["a"].T  # not contiguous, shares memory
    store.save_tensors(path, {**TENSORS, "t": view}, {"unit": "m"})
    tensors, metadata = store.load_tensors(path)
    assert metadata == {"unit": "m"}
    assert torch.equal(tensors["t"], view)
    assert tensors["b"].dtype == torch.bool


def test_arrays_come_back(tmp_path):
    path, array = tmp_path / "x.npz", np.arange(6, dtype=np.uint8).reshape(2, 3)
    store.save_arrays(path, {"names": np.array(["a", "b"]), "file": array})
    arrays = store.load_arrays(path)
    assert arrays["names"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(arrays["file"], array)


def test_objects_are_neither_written_nor_read(tmp_path):
    with pytest.raises(TypeError, match="never stored"):
        store.save_arrays(tmp_path / "x.npz", {"a": np.array([{}])})
    np.savez(tmp_path / "evil.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ArtifactError, match=r"evil\.npz is not a sound"):
        store.load_arrays(tmp_path / "evil.npz")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    store.save_tensors(tmp_path / "w", {"good": torch.zeros(2), "bad": torch.tensor([0, value])})
    with pytest.raises(ArtifactError, match="tensor bad holds values that are not finite"):
        store.load_tensors(tmp_path / "w")


def test_every_flipped_bit_is_found_by_the_hash(tmp_path):
    path = tmp_path / "w"
    store.save_tensors(path, TENSORS)
    data, digest = path.read_bytes(), store.file_sha256(path)
    for bit in range(0, 8 * len(data), 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="damaged: its SHA-256 is"):
            store.load_tensors(path, sha256=digest)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20, 100])
def test_a_cut_file_is_an_artifact_error(tmp_path, keep):
    store.save_tensors(tmp_path / "w", TENSORS)
    store.save_arrays(tmp_path / "x", {"a": np.arange(5)})
    store.save_json(tmp_path / "j", {"a": list(range(50))})
    readers = {"w": store.load_tensors, "x": store.load_arrays, "j": store.read_json}
    for name, reader in readers.items():
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ArtifactError, match=f"/{name} "):
            reader(path)


@pytest.mark.parametrize(
    "data", [b"\x93NUMPY", b"PK\x03\x04" + b"\0" * 40, b"\x80\x04N.", b"[" * 10**5]
)
def test_foreign_bytes_are_an_artifact_error(tmp_path, data):
    path = tmp_path / "f"
    path.write_bytes(data)
    for reader in (store.load_tensors, store.load_arrays, store.read_json):
        with pytest.raises(ArtifactError):
            reader(path)


def test_a_missing_file_and_a_huge_json_are_artifact_errors(tmp_path, monkeypatch):
    with pytest.raises(ArtifactError, match="No such file"):
        store.load_tensors(tmp_path / "none")
    monkeypatch.setattr(storage, "_LARGEST_JSON", 10)
    store.save_json(tmp_path / "j", list(range(20)))
    with pytest.raises(ArtifactError, match="more than the 10 allowed"):
        store.read_json(tmp_path / "j")


def test_a_line_cut_by_a_kill_is_left_out_but_damage_inside_is_not(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in range(3):
        store.append_jsonl(path, {"step": step})
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
    assert [r["step"] for r in store.read_jsonl(path)] == [0, 1, 2]
    path.write_bytes(b'{"step": 0\n{"step": 1}\n')
    with pytest.raises(ArtifactError, match="line 1"):
        store.read_jsonl(path)


# Manifest


@pytest.fixture
def run(tmp_path):
    store.save_tensors(tmp_path / "mask.safetensors", TENSORS)
    store.save_json(tmp_path / "figures" / "a.json", [1])
    (tmp_path / "job.log").write_text("log")
    store.write_manifest(tmp_path, exclude=("job.log",))
    return tmp_path


def test_an_untouched_run_verifies_and_the_manifest_lists_all_of_it(run):
    store.verify(run)
    files = store.read_json(run / "manifest.json")["files"]
    assert sorted(files) == ["figures/a.json", "mask.safetensors"]


def test_changed_missing_and_swapped_files_are_found(run):
    mask, data = run / "mask.safetensors", (run / "mask.safetensors").read_bytes()
    mask.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"mask\.safetensors is damaged"):
        store.verify(run)
    mask.unlink()
    with pytest.raises(ArtifactError, match=r"mask\.safetensors is missing"):
        store.verify(run)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\\..\\b", "nul\0byte"])
def test_a_manifest_cannot_point_outside(run, name):
    store.save_json(run / "manifest.json", {"format": 1, "files": {name: {}}})
    with pytest.raises(ArtifactError, match="outside its folder"):
        store.verify(run)


@pytest.mark.parametrize("manifest", [[], {"format": 2, "files": {}}, {"format": 1, "files": []}])
def test_what_is_no_manifest_is_refused(run, manifest):
    store.save_json(run / "manifest.json", manifest)
    with pytest.raises(ArtifactError, match="not a manifest"):
        store.verify(run)


# Lock


HOLD = """
import sys, time, pathlib
from experiments.store import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_used_by_one_process_and_free_again_when_that_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ArtifactError, match=f"in use by process {holder.pid} on"),
            store.lock(tmp_path),
        ):
            pytest.fail("got the lock")
    finally:
        holder.kill()
        holder.communicate()
    with store.lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ({}, True),
        ({"boot": "an earlier boot"}, False),
        ({"host": "elsewhere"}, True),
        (None, False),
    ],
)
def test_the_record_of_the_owner_decides_where_files_cannot_be_locked(tmp_path, change, alive):
    owner = {} if change is None else storage._this_process() | change
    (tmp_path / ".lock").write_text(json.dumps(owner))
    assert storage._alive(storage._read_owner(tmp_path / ".lock")) is alive


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), store.lock(tmp_path):
        raise ValueError("inside")
    with store.lock(tmp_path):
        pass


def test_importing_the_store_needs_no_torch():
    code = "import sys, experiments.launch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
