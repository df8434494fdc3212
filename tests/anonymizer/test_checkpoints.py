"""Weight files: found by content, refused when altered, read without running code."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from anonymizer import checkpoints
from anonymizer.checkpoints import (
    WeightsError,
    fill,
    find_weights,
    hash_file,
    read_quantized,
    read_state,
)

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "b" / "net" / "w.safetensors"
    path.parent.mkdir(parents=True)
    save_file(STATE, path)
    return path


def test_file_is_found_in_the_first_folder_that_has_its_content(tmp_path, stored):
    search = [tmp_path / "a", tmp_path / "b"]
    assert find_weights("net/w.safetensors", hash_file(stored), search) == stored


def test_altered_copy_is_passed_over_for_a_true_one(tmp_path, stored):
    digest = hash_file(stored)
    altered = tmp_path / "a" / "net" / "w.safetensors"
    altered.parent.mkdir(parents=True)
    altered.write_bytes(stored.read_bytes()[:-1] + b"!")
    assert find_weights("net/w.safetensors", digest, [tmp_path / "a", tmp_path / "b"]) == stored


def test_altered_file_is_refused_with_both_hashes(tmp_path, stored):
    digest = hash_file(stored)
    stored.write_bytes(stored.read_bytes() + b"!")
    with pytest.raises(WeightsError, match=f"{hash_file(stored)}, expected {digest}"):
        find_weights("net/w.safetensors", digest, [tmp_path / "b"])


def test_absent_file_message_names_file_places_and_remedy(tmp_path):
    with pytest.raises(WeightsError, match=r"no\.pt .*looked in .*folder_x.*weights_path"):
        find_weights("no.pt", "0" * 64, [tmp_path / "folder_x"])


def test_bundled_folder_is_searched_last(tmp_path, stored, monkeypatch):
    monkeypatch.setattr(checkpoints, "BUNDLED", tmp_path / "b")
    assert find_weights("net/w.safetensors", hash_file(stored)) == stored


@pytest.mark.parametrize(
    ("name", "sha256"), [("w.pt", "abc"), ("../w.pt", "0" * 64), ("/w.pt", "0" * 64)]
)
def test_name_outside_the_folders_or_short_hash_is_refused(name, sha256):
    with pytest.raises(ValueError, match="expected"):
        find_weights(name, sha256)


@pytest.mark.parametrize("name", ["w.pt", "w.ckpt", "w.npz", "w.safetensors"])
def test_every_format_returns_the_same_tensors(tmp_path, name):
    path = tmp_path / name
    match path.suffix:
        case ".npz":
            np.savez(path, **{n: t.numpy() for n, t in STATE.items()})
        case ".safetensors":
            save_file(STATE, path)
        case ".ckpt":
            torch.save({"epoch": 3, "net_state_dict": STATE}, path)
        case _:
            torch.save(STATE, path)
    read = read_state(path)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[n], STATE[n]) for n in STATE)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a weight file ran code",))


@pytest.mark.parametrize("name", ["w.pt", "w.npz"])
def test_pickled_code_is_not_run(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, x=np.array([Trap()], dtype=object))
    else:
        torch.save({"weight": Trap()}, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state(path)


@pytest.mark.parametrize("name", ["w.pt", "w.npz", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all" * 9])
def test_damaged_file_is_refused_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=path.name):
        read_state(path)


def test_wrong_extension_lists_the_right_ones(tmp_path):
    with pytest.raises(WeightsError, match=r"\.safetensors"):
        read_state(tmp_path / "w.h5")


def test_fill_copies_values_and_refuses_misfits(tmp_path):
    network = nn.Linear(3, 2)
    fill(network, STATE, tmp_path / "w.pt")
    assert torch.equal(network.weight, STATE["weight"])
    with pytest.raises(WeightsError, match=r"lacks bias \(1\)"):
        fill(network, {"weight": STATE["weight"]}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"misfits weight \(1\)"):
        fill(nn.Linear(4, 2), STATE, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"has unknown bias \(1\)"):
        fill(nn.Linear(3, 2, bias=False), STATE, tmp_path / "w.pt")


def quantized(folder, data, shape=(2, 3)):
    entry = {"name": "k", "shape": shape, "quantization": {"scale": 0.5, "min": -1.0}}
    (folder / "w.bin").write_bytes(bytes(data))
    (folder / "w.json").write_text(json.dumps([{"weights": [entry]}]))
    return folder / "w.bin", folder / "w.json"


def test_quantised_value_is_byte_times_scale_plus_offset(tmp_path):
    tensors = read_quantized(*quantized(tmp_path, [0, 1, 2, 3, 4, 255]))
    assert tensors["k"].tolist() == [[-1, -0.5, 0], [0.5, 1, 126.5]]


@pytest.mark.parametrize("count", [5, 7])
def test_quantised_file_of_another_length_is_refused(tmp_path, count):
    with pytest.raises(WeightsError, match=r"w\.bin"):
        read_quantized(*quantized(tmp_path, range(count)))
