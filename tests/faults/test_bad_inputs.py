"""Mistakes on the command line of the co-design job: one line each, and nothing left behind."""

import sys

import numpy as np
import pytest
from PIL import Image

from experiments import codesign, launch
from tests.experiments.tiny_codesign import ROOT, quick
from tests.shared_data import shared


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the co-design job in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["codesign"])

    def call(*words):
        with pytest.raises(SystemExit) as end:
            launch.run_job("codesign", codesign.main, check=codesign.check, arguments=words)
        return end.value.code or 0, *capsys.readouterr()

    return call


def small(*words):
    """Return the words and what makes the optics small; every override takes its time."""
    keys = ("camera.ap", "camera.w", "mask.c", "mask.s", "sensor.b", "baselines", "size", "weights")
    given = {w.partition("=")[0] for w in words}
    return [w for w in quick(*words) if w.startswith(keys) or w.partition("=")[0] in given]


def folders(place):
    """Run folders and whatever else appeared beside the prepared data."""
    return [p for p in place.glob("runs/codesign/*") if p.name != "latest"]


# words, code, the setting that the message names, what it says
SETTINGS = [
    (["joint.stpes=3"], 2, "joint.stpes", "did you mean 'joint.steps'"),
    (["mask.spred=3 mrad"], 2, "mask.spred", "did you mean 'mask.spread'"),
    (["mask=fresnel"], 2, "mask = fresnel", "relief"),
    (["data=lwf"], 2, "data = lwf", "lfw"),
    (["mask.cell=4"], 2, "mask.cell", "has no unit"),
    (["camera.focus_distance=1.5"], 2, "camera.focus_distance", "has no unit"),
    (["reference_distance=1.5 s"], 2, "reference_distance", "nm, um, mm, cm or m"),
    (["mask.spread=3 mm"], 2, "mask.spread", "rad"),
    (["sensor.read_noise=nan"], 2, "sensor.read_noise", "finite"),
    (["objective.terms.identity.weight=-1.0"], 2, "objective.terms.identity", "weight = -1"),
    (["objective.terms.inversion.low=30.0"], 2, "objective.terms.inversion", "low < high"),
    (["joint.steps=-1"], 2, "joint.steps", "expected 0 to"),
    (["joint.batch=0"], 2, "joint.batch", "expected 1 to"),
    (["joint.learning_rate=2.0"], 2, "joint", "learning_rate = 2"),
    (["joint.adversary_steps=0"], 2, "joint", "adversary_steps = 0"),
    (["shaping.height_rate=-1.0"], 2, "shaping", "height_rate = -1"),
    (["clear.steps=[1,2]"], 2, "clear.steps", "expected a whole number"),
    (["seed=-1"], 2, "seed", "expected 0 to"),
    (["device=gpu"], 2, "device = 'gpu'", "auto, cpu or cuda"),
    (["what=trian"], 2, "what = 'trian'", "train, evaluate or simulate"),
    (["size=72"], 2, "size = 72", "multiple of 32"),
    (["framing.shift=0.9"], 2, "framing", "shift = 0.9"),
    (["camera.window=20"], 2, "camera", "window = 20: an odd number"),
    (["camera.focus_distance=10 mm"], 2, "0.01 m", "focal"),
    (["nearest=2 m"], 2, "nearest = 2 m", "in this order"),
    (["reference_distance=1.2 m"], 2, "distances", "do not hold the reference distance 1.2 m"),
    (["mask.max_height=0.5 um"], 2, "mask", "one wavelength of delay needs"),
    (["mask.spread=60 mrad"], 2, "mask", "would deflect by"),
    (["mask.material=butter"], 2, "mask", "butter"),
    (["mask=zernike", "camera.window=127"], 2, "window = 127", "aliases"),
    (["sensor.binning=7"], 2, "sensor", "binning = 7"),
    (["baselines.low_resolution.crop_pixels=400"], 2, "baselines", "more than the camera has"),
    (["regressor.widths=[8]"], 2, "regressor", "two or more"),
    (["pool=best"], 2, "pool = 'best'", "expected auto"),
    (["weights_path=[nowhere]", "pool=photographs"], 4, "edgeface_xs.npz", "nowhere"),
    (["data.max_yaw=90 deg"], 2, "data", "max_yaw"),
    (["evaluation.regularisation=[]"], 2, "evaluation", "regularisation"),
    (["trade_off=[-1.0]"], 2, "trade_off", "-1"),
    (["attack_rates=[]"], 2, "attack_rates", "positive"),
    (["attack_rates=[1.0,-0.1]"], 2, "attack_rates", "-0.1"),
    (["half_field=50 deg"], 2, "field = 1.19", "tangent"),
    (["half_field=5"], 2, "half_field = 5", "no unit"),
    (["fabrication=greyscale", "fabrication.tilt=1 mm"], 2, "fabrication.tilt", "angle"),
    (["evaluate=true"], 2, "run", "run=latest or its folder"),
    (["evaluate=true", "run=nowhere"], 4, "run = nowhere", "there are: shipped"),
    (["resume=true"], 4, "resume", "unfinished"),
    (["data=folder"], 2, "data.root", "has no default"),
    (["joint._target_=os.system"], 2, "joint._target_", "only names in"),
]
MORE = [
    (["objective.terms.identity.wieght=1.0"], 2, "wieght", "did you mean"),
    (["objective=best"], 2, "objective = best", "lopez2024"),
    (["evaluation.distances=[1.5, 3]"], 2, "evaluation.distances[0]", "has no unit"),
    (["lens.focal_length=16 Mm"], 2, "lens.focal_length", "nm, um, mm, cm or m"),
    (["mask.max_height=nan um"], 2, "mask.max_height", "nm, um, mm, cm or m"),
    (["objective.terms.inversion.frames=0"], 2, "objective.terms.inversion", "frames = 0"),
    (["joint.adversary_rate=-1.0"], 2, "joint", "adversary_rate = -1"),
    (["joint.mask_scale=-1.0"], 2, "joint", "mask_scale = -1"),
    (["shaping.every=0"], 2, "shaping", "every = 0"),
    (["clear.steps=1.5"], 2, "clear.steps", "expected a whole number"),
    (["progress=perhaps"], 2, "progress", "true or false"),
    (["size=32"], 2, "size = 32", "64 to 256"),
    (["context=0.5"], 2, "context = 0.5", "1 to 4"),
    (["camera.nodes=2"], 2, "camera", "nodes = 2"),
    (["camera.aperture_diameter=-1 mm"], 2, "aperture_diameter", "-0.001"),
    (["nearest=10 mm"], 2, "0.01 m", "focal"),
    (["farthest=1 m"], 2, "farthest = 1 m", "in this order"),
    (["mask.profile=square"], 2, "mask.profile", "gaussian"),
    (["sensor.white_fraction=1.5"], 2, "sensor", "white_fraction"),
    (["baselines.in_focus.mask=coded"], 2, "baselines.in_focus", "mask = 'coded'"),
    (["baselines.in_focus.window=14"], 2, "window = 14", "an odd number"),
    (["data.people=0"], 2, "data", "people = 0"),
    (["evaluation.frames=[0]"], 2, "evaluation", "frames"),
    (["evaluation.batch=0"], 2, "evaluation.batch", "expected 1 to"),
    (["evaluation.max_images=0"], 2, "evaluation", "max_images = 0"),
    (["evaluation.frames=[]"], 2, "evaluation", "frames"),
    (["trade_off_steps=-5"], 2, "trade_off_steps", "-5"),
    (["resume=true", "run=nowhere"], 4, "run = nowhere", "there are: shipped"),
    (["--quick"], 2, "--quick", "not an option"),
    (["joint.steps=1,2"], 2, "joint.steps=1,2", "--multirun"),
]


def assert_refused(lab, place, words, code, setting, message):
    output = lab(*small(*words))
    assert output[:2] == (code, "")
    assert output[2].startswith("error: ")
    assert setting in output[2]
    assert message in output[2]
    assert output[2].count("\n") == 1
    assert list(place.iterdir()) == []


def names(cases):
    return [" ".join(words) for words, *_ in cases]


@pytest.mark.parametrize(("words", "code", "setting", "message"), SETTINGS, ids=names(SETTINGS))
def test_a_wrong_setting_is_one_line_that_names_it(lab, tmp_path, words, code, setting, message):
    assert_refused(lab, tmp_path, words, code, setting, message)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code", "setting", "message"), MORE, ids=names(MORE))
def test_more_wrong_settings(lab, tmp_path, words, code, setting, message):
    """`./lab test -m slow tests/faults/test_bad_inputs.py`, half a minute."""
    assert_refused(lab, tmp_path, words, code, setting, message)


# pictures


def photographs(place, people, *, broken=False):
    draw = np.random.default_rng(0)
    for name in people:
        folder = place / "photos" / name
        folder.mkdir(parents=True)
        for number in range(2):
            path = folder / f"{number}.jpg"
            if broken:
                path.write_bytes(b"\xff\xd8\xff" + bytes(number + 50))
            else:
                Image.fromarray(draw.integers(0, 255, (80, 64, 3), dtype=np.uint8)).save(path)
    return place / "photos"


def words_for(root, *more):
    weights = f"weights_path=[{ROOT / 'anonymizer/weights'},{shared('data')}]"
    return [*quick(weights, "data=folder"), f"data.root={root}", "pool=synthetic", *more]


def refused(lab, place, words, code, *parts):
    found, output, errors = lab(*words)
    assert found == code, errors
    assert errors.startswith("error: ")
    for part in parts:
        assert part in errors
    assert "Traceback" not in errors
    assert folders(place) == []
    return output, errors


def test_a_missing_folder_of_pictures_is_named(lab, tmp_path):
    refused(lab, tmp_path, words_for(tmp_path / "none"), 3, "none")


def test_an_empty_folder_of_pictures_is_named(lab, tmp_path):
    (tmp_path / "photos").mkdir()
    refused(lab, tmp_path, words_for(tmp_path / "photos"), 3, "photos")


def test_a_file_in_place_of_a_folder_is_named(lab, tmp_path):
    (tmp_path / "photos").write_text("no folder")
    refused(lab, tmp_path, words_for(tmp_path / "photos"), 3, "photos")


def test_broken_pictures_are_listed(lab, tmp_path):
    root = photographs(tmp_path, ["ann", "bob", "cid"], broken=True)
    refused(lab, tmp_path, words_for(root), 3, "6 of 6 pictures", "ann/0.jpg", "max_bad_fraction")


def test_pictures_without_faces_are_listed(lab, tmp_path):
    root = photographs(tmp_path, ["ann", "bob", "cid"])
    refused(lab, tmp_path, words_for(root), 3, "6 of 6 pictures", "face")


def test_too_few_people_are_counted(lab, tmp_path):
    words = quick("data.people=5", "data.images_per_person=2")
    refused(lab, tmp_path, words, 3, "people = 5, at least 6 are needed")
    words = quick("data.people=1", "data.images_per_person=2")
    refused(lab, tmp_path, words, 3, "people = 1, at least 6 are needed")
