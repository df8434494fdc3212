"""Applying and judging a finished anonymizer, as jobs: what they write, refuse and go on with."""

import copy
import functools

import numpy as np
import pytest
import torch
from PIL import Image

from anonymizer.stargan import Anonymizer
from experiments import anonymize, anonymizer_attack, anonymizer_evaluation, anonymizer_use
from experiments.anonymizer_likeness import diversity_numbers, landmark_numbers
from experiments.anonymizer_outputs import Maker, swaying
from experiments.composing import compose
from experiments.data.errors import DataError
from experiments.report.anonymizer_sheet import anonymizer_sheet
from experiments.scene import load_scenes
from experiments.settings import SettingsError, to_si
from experiments.store import read_json, read_jsonl, save_json
from tests.experiments.protecting_doubles import picture, with_canaries
from tests.experiments.test_disguising import disguise, square
from tests.experiments.tiny_anonymizer import finished, outputs
from tests.experiments.tiny_codesign import tiny_crops

KEYS = (
    "detection_rate", "detection_rate_clear", "nme", "nme_failures", "reid_source_auc",
    "reid_reference_auc", "reid_source_auc_retrained", "linkage_dsys", "fid", "kid",
)  # fmt: skip


@functools.cache
def usual():
    return to_si(compose("anonymize", ["run=somewhere", "progress=false", "reference=7"]))


def settings(**changes):
    """Settings of the job with other values at the top."""
    made = copy.deepcopy(usual())
    made.update({"reference": None} | changes)
    return made


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Let jobs find the tiny anonymizer, and no detector."""
    monkeypatch.setattr(anonymizer_use, "chosen_run", lambda settings, run: tmp_path)
    monkeypatch.setattr(
        anonymizer_use, "open_disguise", lambda *_: disguise([square()], [], [square()])
    )
    return tmp_path


def saved(folder, name="in.png", seed=0):
    folder.mkdir(exist_ok=True)
    Image.fromarray(picture(seed)).save(folder / name)
    return folder


def test_all_pictures_of_a_folder_are_made_and_refusals_counted(place):
    source = saved(saved(saved(place / "in", "a.png"), "b.png"), "c.png")
    (source / "d.png").write_bytes(b"no picture")
    run = place / "run"
    anonymizer_use.apply(settings(what="apply", source=str(source)), run)
    assert sorted(p.name for p in (run / "anonymized").iterdir()) == ["00001.png", "00003.png"]
    assert read_json(run / "metrics.json") == {"files": 4, "files_refused": 2, "faces": 2}
    entries = read_jsonl(run / "journal.jsonl")
    assert [entry.get("refused") for entry in entries] == [None, "no face", None, "not a picture"]
    assert not any("png" in str(entry) for entry in entries)  # the journal names no file
    with Image.open(run / "sheet.png") as sheet:
        assert sheet.size == (320, 160)


def test_what_is_finished_is_not_made_again(place):
    source = saved(saved(place / "in", "a.png"), "b.png")
    run = place / "run"
    run.mkdir()
    (run / "journal.jsonl").write_text('{"number": 1, "faces": 1}\n')
    anonymizer_use.apply(settings(what="apply", source=str(source)), run)
    assert [p.name for p in (run / "anonymized").iterdir()] == ["00002.png"]
    assert read_json(run / "metrics.json")["files"] == 2


def test_the_only_file_that_is_refused_is_an_error(place, monkeypatch):
    source = saved(place / "in") / "in.png"
    monkeypatch.setattr(anonymizer_use, "open_disguise", lambda *_: disguise([]))
    with pytest.raises(DataError, match=r"in\.png: no face was found"):
        anonymizer_use.apply(settings(what="apply", source=str(source)), place / "run")


def test_nothing_but_pixels_reaches_the_run(place, monkeypatch):
    (place / "in").mkdir()
    words = with_canaries(place / "in")
    monkeypatch.setattr(anonymizer_use, "open_disguise", lambda *_: disguise())
    run = place / "run"
    anonymizer_use.apply(settings(what="apply", source=str(place / "in")), run)
    assert len(list((run / "anonymized").iterdir())) == 3
    for path in run.rglob("*.*"):
        data = path.read_bytes()
        assert not any(word in data for word in words), path.name
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert not image.info
                assert not image.getexif()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"what": "apply", "run": None}, "run = null: apply needs a trained anonymizer"),
        ({"what": "paint"}, "what = 'paint', expected train, apply or evaluate"),
        ({"what": "apply", "source": "nowhere"}, "source = nowhere: there is no such file"),
        ({"what": "apply"}, "source = null: name a picture"),
        (
            {"what": "apply", "source": __file__, "reference": "me.png"},
            "there is no such",
        ),
        ({"what": "apply", "pace": 0}, r"pace = 0.*a share in"),
        ({"what": "apply", "nearest_reference": 2}, "nearest_reference = 2, expected a cosine"),
        ({"evaluate": True, "source": "photos"}, "source = photos: an evaluation looks at"),
        ({"evaluate": True, "people": 4}, "people = 4, references = 3: at least two"),
        ({"evaluate": True, "clip_frames": 2}, "clip_frames = 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(words, message, monkeypatch):
    monkeypatch.setattr(anonymizer_use, "find_run", lambda *_: None)
    with pytest.raises((SettingsError, DataError), match=message):
        anonymize.check(settings(**words))


def test_reference_takes_a_number_a_path_or_nothing():
    from experiments.lent_styles import seed_of

    assert seed_of(settings(seed=4)) == 4
    assert seed_of(usual()) == 7
    assert seed_of(settings(reference="faces/7")) is None


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """One evaluation of the tiny anonymizer, without a detector."""
    place = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anonymizer_evaluation, "chosen_run", lambda settings, run: place)
        patch.setattr(anonymizer_evaluation, "open_anonymizer", lambda *_: finished(place))
        patch.setattr(
            anonymizer_evaluation, "unseen_people", lambda *_: outputs(people=7, each=2).crops
        )
        patch.setattr(
            anonymizer_evaluation, "attacked_people", lambda *_: tiny_crops(people=3, size=64)
        )
        words = settings(evaluate=True, clip_frames=3, references=2, judges={})
        words["attack"].update(steps=1, batch=4)
        for part in words["detector"]["files"].values():
            part["file"] = "nowhere.pt"
        anonymizer_evaluation.evaluate(words, place)
    return place


def test_an_evaluation_writes_all_its_numbers_with_intervals(judged):
    found = read_json(judged / "metrics.json")
    for name in KEYS:
        assert {name, f"{name}_lo", f"{name}_hi", f"{name}_n"} <= set(found)
        if found[name] is None:
            assert len(found[f"{name}_reason"]) > 20
        else:
            assert found[f"{name}_lo"] <= found[name] <= found[f"{name}_hi"]
            assert found[f"{name}_n"] > 0
    assert [n for n in KEYS if found[n] is None] == [
        "detection_rate", "detection_rate_clear", "fid", "kid",
    ]  # fmt: skip
    assert (found["n_images"], found["n_people"]) == (14, 7)


def test_the_page_shows_faces_and_says_what_limits_the_numbers(judged):
    page = (judged / "report.html").read_text()
    assert "No recogniser but the guard of the training was at hand" in page
    assert "no Inception-v3 weights" in page
    with Image.open(judged / "figures" / "faces.png") as figure:
        assert figure.size[0] > 600


def test_attackers_see_outputs_and_not_measurements(monkeypatch):
    made = finished()
    monkeypatch.setattr(
        Anonymizer, "anonymize", lambda self, m, h, s: torch.full_like(m, 0.25) + 0 * s.sum()
    )
    camera = anonymizer_attack.AnonymizingCamera(made, 1.5)
    maker = Maker(made, tiny_crops(size=64), distance=1.5, references=1, seed=0, batch=4)
    from experiments.stages import Batch

    scenes = load_scenes(maker.crops, [0, 1])
    draws = [torch.Generator().manual_seed(i) for i in range(2)]
    seen = camera.look(Batch(scenes, draws, torch.arange(2)), draws[0], None)
    torch.testing.assert_close(seen, torch.full_like(scenes.light, 0.25))


def test_people_of_the_trainings_seed_are_refused(tmp_path):
    made = finished(tmp_path)
    save_json(tmp_path / "camera_run.json", {"folder": str(tmp_path)})
    save_json(tmp_path / "config.json", {"data": {"seed": 5}})
    for seed in (0, 5):  # of the anonymizer, of its camera
        words = settings(source="synthetic")
        words["unseen"]["seed"] = seed
        with pytest.raises(SettingsError, match=f"unseen.seed = {seed}: the run learned"):
            anonymizer_evaluation.unseen_people(words, made)


def test_known_people_of_other_data_are_left_out(tmp_path, monkeypatch):
    made = finished(tmp_path)
    save_json(tmp_path / "camera_run.json", {"folder": str(tmp_path)})
    save_json(tmp_path / "people.json", {"learned_from": ["person 0", "person 3"]})
    crops = tiny_crops(people=8, size=64)
    monkeypatch.setattr(anonymizer_evaluation, "open_crops", lambda *_: crops)
    left = anonymizer_evaluation.unseen_people(settings(references=2), made)
    assert {left.names[i] for i in left.person}.isdisjoint({"person 0", "person 3"})
    assert len(np.unique(left.person)) == 6
    with pytest.raises(DataError, match=r"6 people are left .* at least 8"):
        anonymizer_evaluation.unseen_people(settings(references=6), made)


def test_landmarks_of_outputs_are_held_against_the_sources():
    made = finished()
    found = landmark_numbers(made, outputs(), 0)
    assert found["nme"] == found["nme_clear"]  # the outputs are the clear pictures
    assert found["nme_camera"] == 0  # and the camera read the truth
    assert found["pose_yaw_error_deg"] == 0
    dark = landmark_numbers(made, outputs(torch.zeros_like), 0)
    assert dark["nme"] != dark["nme_clear"]


def test_diversity_is_zero_for_equal_outputs_and_lpips_says_what_is_missing():
    found = diversity_numbers(outputs(), None, 0)
    assert found["diversity"] == 0
    assert found["diversity_lpips"] is None
    assert "perceptual=lpips" in found["diversity_lpips_reason"]


def test_outputs_are_the_same_in_any_batches():
    made, crops = finished(), tiny_crops(people=4, each=2, size=64)
    one, other = (
        Maker(made, crops, distance=1.5, references=2, seed=0, batch=size).all(progress=False)
        for size in (3, 8)
    )
    torch.testing.assert_close(one.made, other.made, atol=1e-2, rtol=0)
    torch.testing.assert_close(one.read, other.read, atol=1e-2, rtol=0)
    assert (one.made - one.again).abs().max() > 0
    assert (one.made[0] - one.made[1]).abs().max() > 0.05
    lent = crops.person[one.references]
    assert (lent != crops.person[:, None]).all()  # nobody lends to himself
    assert (lent[:, 0] != lent[:, 1]).all()


def test_a_swaying_head_takes_its_landmarks_along():
    crops = tiny_crops(people=2, size=64)
    scenes = load_scenes(crops, [0])
    scenes.light[:] = 0
    x, y = scenes.landmarks[0, 30].round().long().tolist()
    scenes.light[0, :, y - 2 : y + 3, x - 2 : x + 3] = 1
    frames = swaying(scenes, 5)
    line = torch.arange(64.0)
    weight = frames.light[:, 0]
    spot = torch.stack([(weight.sum(1) * line).sum(1), (weight.sum(2) * line).sum(1)], 1)
    spot = spot / weight.sum((1, 2))[:, None]
    moved = frames.landmarks[:, 30] - frames.landmarks[0, 30]
    torch.testing.assert_close(spot - spot[0], moved, atol=0.1, rtol=0)
    assert moved.abs().max() > 1


def test_the_page_of_linkable_outputs_says_so(judged):
    found = read_json(judged / "metrics.json") | {
        "linkage_dsys": 0.5, "linkage_dsys_null_hi": 0.2, "held_out": ["other"],
    }  # fmt: skip
    maker = Maker(finished(), outputs().crops, distance=1.5, references=1, seed=0, batch=4)
    shown = anonymizer_evaluation.shown(maker)
    lead = " ".join(anonymizer_sheet("x", found, shown).lead)
    assert "Two outputs of one person can be linked: D_sys 0.500" in lead
    assert "other judged, which it had not met" in lead
    assert list(shown.made) == ["as A", "as B", "as C", "all mixed", "nobody"]
