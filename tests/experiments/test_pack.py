"""Packed runs: small, and read by everybody who reads the run they were made of."""

import json
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from anonymizer.stargan import Anonymizer
from experiments import runs
from experiments.bench_rig import design_of_run
from experiments.cameras import LEARNED, build_camera
from experiments.composing import compose
from experiments.described import stored_settings
from experiments.design import Codesign
from experiments.finished_anonymizer import camera_folder, open_anonymizer
from experiments.launch import run_job
from experiments.objectives import ScenePower
from experiments.pack import check, main, pack_anonymizer, pack_camera, significant
from experiments.settings import SettingsError, to_si
from experiments.store import (
    ArtifactError,
    load_arrays,
    load_tensors,
    read_json,
    save_arrays,
    save_json,
    save_tensors,
    verify,
)
from tests.experiments.tiny_codesign import quick, rough

NOW = {"cache": "cache", "progress": False, "device": "cpu", "weights_path": []}
COMMAND = "./lab codesign 'mask.cell=8 um' size=64"
LARGEST = 8e6  # bytes that one camera of the package may take


def untrained_run(folder):
    """A run as the job leaves it, with networks and a mask that learned nothing."""
    config = compose("codesign", quick())
    folder.mkdir()
    save_json(folder / "config.json", OmegaConf.to_container(config, resolve=True))
    record = {"job": "codesign", "overrides": ["mask.cell=8 um", "size=64"], "state": "finished"}
    save_json(folder / "run.json", record | {"versions": {"machine": "here", "torch": "2"}})
    save_json(folder / "people.json", {"learned_from": ["synthetic-000000"]})
    save_json(folder / "inversion_strengths.json", {f"{LEARNED}/inversion_strength_1": 1.0})
    numbers = {"landmark_nme": 0.2, "defocused/landmark_nme": 0.3, "in_focus/landmark_nme": 0.1}
    save_json(folder / "metrics.json", numbers)
    power = ScenePower(torch.linspace(0, 20, 8), torch.ones(8), 1.7)
    arrays = {"cycles": power.cycles.numpy(), "power": power.power.numpy()}
    save_arrays(folder / "scene_power.npz", arrays | {"context": np.array(power.context)})
    work = Codesign(to_si(config), folder)
    save_tensors(folder / "regressor_clear.safetensors", work.clear.state_dict())
    work.keep(LEARNED, work.clear, rough(build_camera(work.settings)))
    for name in work.baselines:
        work.keep(name, work.clear, None)
    for name in (LEARNED, *work.baselines):
        work.static(name)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("packing") / "run")


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "camera"
    return folder, pack_camera(source, folder, ["defocused"])


def opened(folder):
    return Codesign(stored_settings(folder, NOW), folder)


def test_a_packed_camera_is_the_camera(source, packed):
    folder, changes = packed
    verify(folder)
    before, after = design_of_run(source), design_of_run(folder)
    # 16 bits hold turns of up to 2 to a thousandth: a nanometre of a step of 1.2 um at worst
    height = (after.mask.height() - before.mask.height()).detach().abs()
    assert 0 < height.max() < 1.2e-9
    assert changes["height_change_rms"] < 0.5e-9
    assert 0 < changes["psf_change"] < 1e-3


def test_its_networks_and_psfs_are_those_of_the_run(source, packed):
    faces = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before, after = opened(source), opened(packed[0])
    for name in (LEARNED, "defocused"):
        with torch.no_grad():
            points = [work.regressor(name)(faces).landmarks() for work in (before, after)]
        assert (points[1] - points[0]).abs().max() < 0.1  # [px], of weights with 11 bits
        psfs = [work.static(name).psfs for work in (before, after)]
        assert list(psfs[0]) == list(psfs[1])
        for distance in psfs[0]:  # half of the last of 12 bits
            torch.testing.assert_close(
                psfs[1][distance], psfs[0][distance], rtol=2.0**-12, atol=0.0
            )


def test_only_what_was_asked_for_is_packed(source, packed):
    folder = packed[0]
    assert list(opened(folder).baselines) == ["defocused"]
    assert {path.name for path in (folder / "cameras").iterdir()} == {LEARNED, "defocused"}
    sizes = [sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in (source, folder)]
    assert sizes[1] < 0.4 * sizes[0]


def test_a_network_that_went_on_behind_the_same_mask_stands_for_the_first(source, tmp_path):
    refined = tmp_path / "refined"
    shutil.copytree(source, refined)
    path = refined / "cameras" / LEARNED / "regressor.safetensors"
    weights, notes = load_tensors(path)
    save_tensors(path, {n: t + 1 if "bias" in n else t for n, t in weights.items()}, notes)
    save_json(refined / "metrics.json", {"landmark_nme": 0.15, "as_designed/landmark_nme": 0.2})
    folder = tmp_path / "packed"
    pack_camera(source, folder, ["defocused"], refined)
    expected = {"landmark_nme": 0.15, "defocused/landmark_nme": 0.3}
    assert read_json(folder / "metrics.json") == expected
    assert read_json(folder / "run.json")["continued_by"] == COMMAND
    found, _ = load_tensors(folder / "cameras" / LEARNED / "regressor.safetensors")
    for name, tensor in weights.items():
        shift = 1.0 if "bias" in name else 0.0
        torch.testing.assert_close(found[name].to(tensor), tensor + shift, rtol=2**-11, atol=1e-6)
    mask, notes = load_tensors(refined / "mask.safetensors")
    other = {n: -t if n == "parameters/turns" else t for n, t in mask.items()}
    save_tensors(refined / "mask.safetensors", other, notes)
    settings = to_si(compose("pack", [f"run={source}", f"refined={refined}"]))
    with pytest.raises(SettingsError, match="another mask"):
        check(settings | {"cameras": []})


def test_a_packed_run_tells_the_command_that_made_it(packed):
    record = read_json(packed[0] / "run.json")
    assert record["command"] == COMMAND
    assert "machine" not in record["versions"]


@pytest.mark.parametrize("bits", [5, 12, 20])
def test_rounding_keeps_the_significant_bits(bits):
    draw = np.random.default_rng(0)
    values = np.concatenate((draw.lognormal(-10, 4, 1000), [0.0, -1.0, 1.0])).astype(np.float32)
    found = significant(values, bits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values, rtol=2.0**-bits, atol=0)
    fraction = np.frexp(found)[0] * 2**bits
    np.testing.assert_array_equal(fraction, np.round(fraction))


def test_what_cannot_be_packed_is_refused(source, tmp_path):
    settings = to_si(compose("pack", []))
    with pytest.raises(SettingsError, match="run = null"):
        check(settings)
    settings["run"] = str(source)
    check(settings)
    with pytest.raises(SettingsError, match=r"cameras = \['microscope'\].*in_focus, defocused"):
        check(settings | {"cameras": ["microscope"]})
    with pytest.raises(SettingsError, match=r"name = '\.\./out'"):
        check(settings | {"name": "../out"})
    with pytest.raises(ArtifactError, match=r"holds no anonymizer\.safetensors"):
        check(settings | {"what": "anonymizer"})
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("config.json", "run.json"):
        (begun / name).write_bytes((source / name).read_bytes())
    save_json(begun / "run.json", read_json(begun / "run.json") | {"state": "interrupted"})
    with pytest.raises(ArtifactError, match="it is interrupted, only a finished run"):
        check(settings | {"run": str(begun)})


def test_the_job_packs_and_says_what_changed(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        run_job("pack", main, check=check, arguments=[f"run={source}", "cameras=[]"])
    assert left.value.code == 0
    folder = runs.find_run("pack", "latest")
    assert json.loads((folder / "metrics.json").read_text())["bytes"] > 0
    packed = runs.find_run("codesign", str(folder / "packed"))
    assert design_of_run(packed).window == 21
    (packed / "people.json").unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        verify(packed)


def untrained_anonymizer(folder, camera):
    """A run of the anonymizer as the job leaves it, with networks that learned nothing."""
    folder.mkdir()
    torch.manual_seed(2)
    network = Anonymizer(size=64, width=1 / 32, hidden=8, smooth=True)
    network.save(folder / "anonymizer.safetensors", {"people": "9", "camera": "x"})
    config = compose("anonymize", ["size=64", "width=0.03125", "hidden=8"])
    save_json(folder / "config.json", OmegaConf.to_container(config, resolve=True))
    record = {"job": "anonymize", "overrides": ["budget=small"], "state": "finished"}
    save_json(folder / "run.json", record | {"versions": {"machine": "here"}})
    save_json(folder / "people.json", {"learned_from": ["synthetic-000001"]})
    save_json(folder / "camera_run.json", {"folder": str(camera)})
    return network


def test_a_packed_anonymizer_makes_the_same_faces_and_finds_its_camera(source, tmp_path):
    network = untrained_anonymizer(tmp_path / "run", source)
    folder = tmp_path / "packed"
    assert pack_anonymizer(tmp_path / "run", folder, None)["parameters"] > 1e4
    verify(folder)
    assert camera_folder(folder) == source
    after = Anonymizer.load(folder / "anonymizer.safetensors")
    draw = torch.Generator().manual_seed(3)
    picture = torch.rand(2, network.door.inputs, 64, 64, generator=draw)
    with torch.no_grad():
        made = [n.generator(picture, n.drawn_style(2, generator())) for n in (network, after)]
    # weights of 11 bits through some twenty layers, on outputs of the order of 1
    torch.testing.assert_close(made[1], made[0], rtol=0, atol=0.03)
    _, notes = load_tensors(folder / "anonymizer.safetensors")
    assert notes["command"] == "./lab anonymize budget=small"
    assert "camera" not in notes  # the name of a folder elsewhere
    opened_again = open_anonymizer(folder, NOW)
    assert opened_again.observer.regressor_size == 64
    pack_anonymizer(tmp_path / "run", tmp_path / "behind", "shipped")
    assert camera_folder(tmp_path / "behind") == runs.find_run("codesign", "shipped")
    _, notes = load_tensors(tmp_path / "behind" / "anonymizer.safetensors")
    assert notes["command"] == "./lab anonymize run=shipped budget=small"


def generator():
    return torch.Generator().manual_seed(4)


# What comes with the program


def shipped(job):
    return runs.shipped_runs(job)


def test_a_camera_comes_with_the_program():
    assert {"shipped", "shipped_published"} <= set(shipped("codesign"))
    assert runs.find_run("codesign", "shipped").name == "codesign"
    with pytest.raises(ArtifactError, match=r"there are: .*shipped, shipped_published"):
        runs.find_run("codesign", "shiped")


@pytest.mark.parametrize("name", sorted(shipped("codesign")))
def test_a_camera_of_the_program_is_whole_small_and_of_nobody(name):
    folder = runs.find_run("codesign", name)
    verify(folder)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < LARGEST
    people = read_json(folder / "people.json")["learned_from"]
    assert people
    assert all(person.startswith("synthetic-") for person in people)
    assert read_json(folder / "run.json")["command"].startswith("./lab codesign ")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped("codesign")))
def test_a_shipped_mask_makes_the_psf_beside_it(name):
    folder = runs.find_run("codesign", name)
    camera = design_of_run(folder)
    stored = load_arrays(folder / "cameras" / LEARNED / "psfs.npz")
    row = int(np.abs(stored["distances"] - camera.focus_distance).argmin())
    nodes = int(read_json(folder / "config.json")["evaluation"]["nodes"])
    with torch.no_grad():
        made = camera.psf([float(stored["distances"][row])], nodes=nodes)[0].numpy()
    kept = stored["psfs"][row]
    # both roundings move less than a thousandth of the light
    assert np.abs(made - kept).sum() / 2 < 1e-3 * kept.sum()
