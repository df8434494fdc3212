"""A wrong setting is refused before anything happens, in words that help."""

import pytest
from omegaconf import OmegaConf

from experiments import composing, settings
from experiments.composing import compose, describe
from experiments.settings import SettingsError, build, to_si
from tests.experiments.example import Pinhole, Relief

EXAMPLE = "tests.experiments.example"


@pytest.fixture(autouse=True)
def _own_the_example(monkeypatch):
    for module in (settings, composing):
        monkeypatch.setattr(module, "OWN_PACKAGES", (*settings.OWN_PACKAGES, "tests"))


def load(*overrides):
    return to_si(compose("shine", overrides, config_module=EXAMPLE))


def test_defaults_become_si_and_build():
    values = load()
    assert values["scene"] == {"object_distance": 0.75, "distances": [0.75, 1.5]}
    assert build(values["mask"]) == Relief((6, 4), 4e-6, weights=[1.0, 2.0])


def test_groups_and_values_are_overridden():
    values = load("mask=pinhole", "mask.aperture_diameter=250 um", "steps=7", "fast=true")
    assert build(values["mask"]) == Pinhole(250e-6)
    assert (values["steps"], values["fast"]) == (7, True)


def test_an_experiment_changes_only_what_it_says():
    values = load("experiment=quick")
    assert build(values["mask"]).shape == (3, 2)
    assert values["learning_rate"] == 1e-3


BAD = [
    # unknown names
    ("stpes=4", "'stpes' is not a setting.*did you mean 'steps'"),
    ("lerning_rate=0.1", "did you mean 'learning_rate'"),
    ("mask.cel=4 um", "'mask.cel'.*did you mean 'mask.cell'"),
    ("cell=4 um", "'cell'.*did you mean 'mask.cell'"),
    ("maks=relief", "did you mean 'mask'"),
    ("mask=pinhol", "mask = pinhol: .*did you mean 'pinhole'.*there are pinhole, relief"),
    ("experiment=quik", "did you mean 'quick'"),
    ("mask=null", "mask is chosen by name: pinhole, relief"),
    ("mask={cell: 3 um}", "mask is chosen by name"),
    ("+extra=1", "'extra' is not a setting"),
    ("+mask.extra=1", "'mask.extra' is not a setting"),
    ("~steps", "cannot be removed"),
    # types
    ("steps=1.5", r"steps = 1.5, expected a whole number such as 3 \(.*shine.yaml\)"),
    ("steps=true", "steps = true, expected a whole number"),
    ("steps=many", "steps = 'many', expected a whole number"),
    ("seed=null", "seed = null, expected a whole number"),
    ("fast=1", "fast = 1, expected true or false"),
    ("fast=maybe", "fast = 'maybe', expected true or false"),
    ("what=3", "what = 3, expected text"),
    ("learning_rate=[0.1]", r"learning_rate = \[0.1\], expected a number"),
    ("fractions=0.3", "fractions = 0.3, expected a list"),
    ("fractions=[a]", r"fractions = \['a'\], expected a list such as"),
    ("mask.levels=2.5", r"expected a whole number such as 8 \(.*mask/relief.yaml\)"),
    ("mask.wrapped=0", "mask.wrapped = 0, expected true or false"),
    ("mask.shape=7", "mask.shape = 7, expected a list"),
    ("mask.shape=[1,2,3]", r"mask.shape = \[1, 2, 3\], expected"),
    ("mask.shape=[1.5,2]", "mask.shape"),
    ("mask.start=flt", "mask.start = 'flt', expected one of flat, random"),
    # ranges
    ("steps=-1", "steps = -1, expected 0 to"),
    ("learning_rate=-0.1", "learning_rate = -0.1, expected"),
    ("learning_rate=nan", "learning_rate = nan"),
    ("learning_rate=inf", "learning_rate = inf"),
    ("steps=" + "9" * 40, "steps = 9*, expected"),
    ("mask.index=.inf", "mask.index"),
    ("mask.cell=99 m", r"mask: cell = 99 m is outside \[1e-07, 0.01\] m"),
    # units
    ("mask.cell=4", "mask.cell = 4 has no unit"),
    ("mask.cell=4.0e-6", "mask.cell = 4e-06 has no unit"),
    ("mask.cell=4 s", "mask.cell = '4 s' is not in a unit of length"),
    ("mask.cell=inf m", "mask.cell = 'inf m'"),
    ("mask.cell=[4 um]", "mask.cell.* expected a number"),
    ("scene.distances=[1 m, 2]", r"scene.distances\[1\] = 2 has no unit"),
    # what is never run
    ("mask._target_=os.system", "only names in optics"),
    ("mask._target_=tests.experiments.example.Nothing", "has no Nothing"),
    ("mask._target_=tests.experiments.example.Relif", "did you mean 'Relief'"),
    ("mask._target_=tests.nowhere.Relief", "there is no such module"),
    ("steps=${nothing}", "steps"),
    # grammar
    ("steps", "'steps' is not a setting; write key=value"),
    ("=3", "'=3' is not a setting"),
    ("steps=[1", "write key=value"),
    ("steps=1,2", "add --multirun"),
    ("hydra.nothing=1", "hydra.nothing"),
    ("a" * 100_000, "is not a setting"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[bad[:40] for bad, _ in BAD])
def test_a_bad_setting_is_refused(override, message):
    with pytest.raises(SettingsError, match=message) as caught:
        build(load(override)["mask"])
    assert len(str(caught.value)) < 400


def test_a_setting_without_default_must_be_given():
    with pytest.raises(SettingsError, match=r"data has no default; give it: data="):
        to_si(OmegaConf.create({"data": "???"}))


@pytest.mark.parametrize(
    "text", ["steps: [1\n", "steps:\t3\n", "steps: 1\nsteps: 2\n", "- 1\n", "a: &a [*a]\n"]
)
def test_a_broken_file_is_a_settings_error(tmp_path, monkeypatch, text):
    (tmp_path / "broken_configs").mkdir()
    (tmp_path / "broken_configs/__init__.py").touch()
    (tmp_path / "broken_configs/job.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingsError, match="job"):
        compose("job", config_module="broken_configs")


def test_only_named_keys_are_quantities():
    config = OmegaConf.create({"note": "25 mm", "cell": "25 mm", "deep": {"list": ["1 m"]}})
    assert to_si(config) == {"note": "25 mm", "cell": 0.025, "deep": {"list": ["1 m"]}}


def test_a_part_knows_its_place():
    values = to_si(OmegaConf.create({"camera": {"mask": {"_target_": "os.system"}}}))
    with pytest.raises(SettingsError, match=r"^camera\.mask\._target_ = 'os.system'"):
        build(values["camera"]["mask"])


def test_build_names_unknown_missing_and_doubled_arguments():
    node = {"_target_": f"{EXAMPLE}.Relief", "shape": [1, 2], "cell": 1e-6}
    assert build(node, seed=3).seed == 3
    with pytest.raises(SettingsError, match=r"sed: .* no such argument; did you mean 'seed'"):
        build(node | {"sed": 1})
    with pytest.raises(SettingsError, match="cell is missing"):
        build({k: v for k, v in node.items() if k != "cell"})
    with pytest.raises(SettingsError, match="cell is set by the job itself"):
        build(node, cell=1e-6)


def test_a_partial_node_leaves_arguments_open():
    node = {"_target_": f"{EXAMPLE}.Relief", "_partial_": True, "cell": 1e-6}
    assert build(node)(shape=(1, 2)) == Relief((1, 2), 1e-6)
    with pytest.raises(SettingsError, match="did you mean 'cell'"):
        build(node | {"cel": 1e-6})


@pytest.mark.parametrize("name", ["hardware.storage.os.system", "experiments.store.BinaryIO"])
def test_what_our_modules_import_from_elsewhere_is_not_ours(name):
    with pytest.raises(SettingsError, match=r"there is no such module|has no BinaryIO"):
        build({"_target_": name})


def test_the_description_lists_settings_and_choices():
    plain, groups = describe("shine", config_module=EXAMPLE)
    assert plain["steps"] == 3
    assert groups["mask"] == ("relief", ["pinhole", "relief"])
