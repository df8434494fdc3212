"""The comparison job: from the command line to the table, with one process and with two."""

import csv
import json

import pytest
import torch

from experiments import compare
from experiments.attacks import CameraDefence, Faces
from experiments.comparison.bench import build_contestants
from experiments.composing import compose
from experiments.contestants import (
    Absent,
    AnonymizedDefence,
    DesignedCamera,
    Place,
    ProtectedPhotograph,
)
from experiments.contestants.contestant import same_people
from experiments.objectives import ScenePower
from experiments.protocol import Protocol
from experiments.scene import generator_for, load_scenes
from experiments.settings import Settings, to_si
from experiments.store import read_json, read_jsonl
from tests.experiments.calling import caller
from tests.experiments.tiny_anonymize import SIDE
from tests.experiments.tiny_anonymizer import finished
from tests.experiments.tiny_codesign import REFERENCE, ROOT, tiny_crops

WEIGHTS = f"weights_path=[{ROOT / 'anonymizer/weights'}]"
FEW = (
    "contestants=quick", "utilities=quick", "data=synthetic_small", "data.people=24", "seed=3",
    "data.images_per_person=3", "data.workers=1", "size=64", "distances=['3 m']",
    "attacks.fine_tuned.training.steps=2", "attacks.fine_tuned.training.batch=4",
    "attacks.fine_tuned.points=1", "attacks.off_the_shelf.frames=[1,16]",
    "attacks.wiener.strengths=[1.0]", "device=cpu", "progress=false", WEIGHTS,
)  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    return caller("compare", compare, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("what=glasses", "what = 'glasses', expected methods or hardware"),
        ("pictures=3", "pictures = 3, tuning_pictures = 160: at least 8"),
        ("processes=0", "processes = 0, threads = 1: expected 1 to 256"),
        ("elsewhere=[smell]", "elsewhere names 'smell'; of attacks and measures of utility"),
        ("distances=['0 m']", "distances = [0.0] m: positive lengths are needed"),
        ("attacks.off_the_shelf.frames=[0]", "frames = [0], expected one count or more"),
        ("contestants=all", "contestants = all: there is no such option"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    lab, tmp_path, word, message
):
    code, _, errors = lab("hydra.run.dir=run", word)
    assert code == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["standard", "full", "hardware", "quick", "per_shot"])
def test_every_list_of_contestants_can_be_built(name):
    settings = to_si(compose("compare", [f"contestants={name}", "suite@attacks=full"]))
    contestants = build_contestants(settings)
    titles = [one.title for one in contestants.values()]
    assert len(set(titles)) == len(titles)
    assert all(one.kind in ("camera", "anonymizer", "protection") for one in contestants.values())


def place(**changes):
    return Place(Settings({"device": "cpu", "seed": 0, "context": 1.7, **changes}))


def test_a_design_that_is_not_there_is_absent_with_what_there_is():
    with pytest.raises(Absent, match="nowhere holds no run of codesign"):
        DesignedCamera("nowhere").made_of(place())


def test_a_protection_that_learned_nothing_is_absent():
    node = {"_target_": "anonymizer.protection.ProFaceS", "blocks": 1, "width": 4, "decoy": False}
    node["obfuscator"] = {"_target_": "anonymizer.protection.obfuscators.Pixelate", "block": 7}
    node["obfuscator"]["steps"] = 0
    one = ProtectedPhotograph({"method": Settings(node, "method")}, title="untrained")
    with pytest.raises(Absent, match="no weights of this ProFaceS"):
        one.made_of(place())


def test_rendered_people_of_two_seeds_share_names_but_nothing_else():
    rendered = {"_target_": "experiments.data.synthetic.SyntheticFaces", "seed": 0}
    folder = {"_target_": "experiments.data.photographs.Folder"}
    assert same_people(rendered, dict(rendered))
    assert not same_people(rendered, rendered | {"seed": 1})
    assert not same_people(rendered, folder)
    assert same_people(folder, folder)


def test_the_shipped_camera_is_one_physical_thing(tmp_path):
    """Its hash depends on the mask and on which camera of the run it is."""
    settings = to_si(compose("compare", ["device=cpu", "progress=false"]))
    here = Place(settings)
    learned, lens = (DesignedCamera(None, name) for name in ("learned", "in_focus"))
    assert learned.made_of(here) == DesignedCamera("shipped").made_of(here)
    assert learned.made_of(here) != lens.made_of(here)
    assert "mask" in learned.made_of(here)
    assert "mask" not in lens.made_of(here)
    with pytest.raises(Absent, match="has no camera best"):
        DesignedCamera(None, "best").made_of(here)


@pytest.mark.slow
def test_a_comparison_is_the_same_with_one_process_and_with_two(lab, tmp_path, finished_run):
    design = f"design={finished_run}"
    code, _, errors = lab(*FEW, design, "processes=1", "cache=one", "hydra.run.dir=run")
    assert code == 0, errors
    metrics = read_json(tmp_path / "run/metrics.json")
    assert {
        "learned/1.5m/wiener_exact_frames_100_auc_lo",
        "learned/3m/off_the_shelf_auc_hi",
        "bare_lens/1.5m/landmark_gain",
        "pixelate/1.5m/fine_tuned_auc_n",
        "pixelate/1.5m/psnr",
    } <= metrics.keys()
    assert not any(key.startswith("pixelate/3m") for key in metrics)
    with (tmp_path / "run/table.csv").open() as file:
        rows = {(row["method"], row["distance_m"]): row for row in csv.DictReader(file)}
    assert rows["pixelate", "3"]["attacked_auc"] == "not run"
    assert float(rows["learned", "1.5"]["attacked_auc"]) == metrics["learned/1.5m/attacked_auc"]
    found = json.loads((tmp_path / "run/learned/1.5m/fine_tuned/attack.json").read_text())
    assert found["actor"] == "A1"
    assert found["budget"]["steps"] == 2
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert "learned mask" in page
    assert (tmp_path / "run/figures/plane.pdf").exists()

    code, _, errors = lab(*FEW, design, "processes=2", "cache=two", "hydra.run.dir=two_of_them")
    assert code == 0, errors
    assert read_json(tmp_path / "two_of_them/metrics.json") == metrics

    code, _, errors = lab(*FEW, design, "processes=2", "cache=one", "hydra.run.dir=again")
    assert code == 0, errors
    assert not (tmp_path / "again/journal.jsonl").exists()  # nothing was computed
    assert read_json(tmp_path / "again/metrics.json") == metrics
    assert len(read_jsonl(tmp_path / "run/journal.jsonl")) == len(
        [one for one in read_json(tmp_path / "run/cells.json") if one["key"]]
    )


def test_the_anonymizer_shows_another_face_each_time_and_the_same_for_one_source():
    behind = finished()
    camera = behind.observer.camera
    protocol = Protocol(distances=[REFERENCE], reference=REFERENCE)
    crops = tiny_crops(people=2, each=2, size=SIDE)
    scenes = load_scenes(crops, range(4))
    power = ScenePower.measure(scenes)
    defence = AnonymizedDefence(behind, CameraDefence(camera, power, protocol))

    def shown(*key):
        noise = [generator_for(*key, i) for i in range(4)]
        return defence.show(Faces(scenes, torch.from_numpy(crops.person), noise))

    once = shown(0)
    assert once.shape == scenes.light.shape
    assert 0 <= float(once.min()) <= float(once.max()) <= 1
    torch.testing.assert_close(once, shown(0), rtol=0, atol=0)
    assert not torch.equal(once, shown(1))
    assert not defence.noisy
