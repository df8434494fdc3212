"""Every config composes, every `_target_` takes its keys, and every misspelt key is refused."""

import inspect
import random
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

import configs
from experiments.composing import compose, describe
from experiments.settings import PHYSICAL, SettingsError, _locate, to_si

ROOT = Path(configs.__file__).parent
JOBS = sorted(
    p.stem for p in ROOT.glob("*.yaml") if (ROOT.parent / f"experiments/{p.name[:-5]}.py").exists()
)


def choices(job):
    _, groups = describe(job)
    return [f"{group}={option}" for group, (_, options) in groups.items() for option in options]


def parts(node, path=""):
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from parts(value, f"{path}.{key}".lstrip("."))


def keys(node, path=""):
    for key in node:
        name = f"{path}.{key}".lstrip(".")
        yield name
        if isinstance(node._get_node(key), DictConfig):
            yield from keys(node[key], name)


@pytest.mark.parametrize(
    ("job", "choice"), [(job, choice) for job in JOBS for choice in ["", *choices(job)]]
)
def test_composes_and_fits_its_targets(job, choice):
    values = to_si(compose(job, [choice] if choice else []))
    for path, node in parts(values):
        known = set(inspect.signature(_locate(node["_target_"], path)).parameters)
        extra = {key for key in node if key != "_target_"} - known
        assert not extra, f"{path}: {node['_target_']} takes {sorted(known)}, not {sorted(extra)}"


@pytest.mark.parametrize(
    "file", sorted(ROOT.rglob("*.yaml")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_floats_have_a_point_and_no_path_is_absolute(file):
    """YAML reads 1e-4 as text; a path of one machine does not exist on another."""
    text = "\n".join(line.partition("#")[0] for line in file.read_text("utf-8").splitlines())
    for word in text.replace(",", " ").replace("[", " ").replace("]", " ").split():
        assert not word.startswith(("/", "~", "C:")), word
        digits, e, exponent = word.partition("e")
        assert not (e and digits.isdigit() and exponent.lstrip("+-").isdigit()), word


def misspelt(word, chance):
    position = chance.randrange(len(word))
    kind = chance.choice(["drop", "double", "swap", "other"])
    before, letter, after = word[:position], word[position], word[position + 1 :]
    if kind == "drop":
        return before + after
    if kind == "double":
        return before + letter + letter + after
    if kind == "swap" and after:
        return before + after[0] + letter + after[1:]
    return before + "q" + after


def refused(job, count, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, chance = compose(job), random.Random(seed)
    known, done = list(keys(config)), 0
    while done < count:
        key = chance.choice(known)
        *above, last = key.split(".")
        wrong = ".".join([*above, misspelt(last, chance)])
        if wrong in known or not last or wrong.endswith("."):
            continue
        value = OmegaConf.select(config, key)
        with pytest.raises(SettingsError, match=r"is not a setting"):
            compose(job, [f"{wrong}={value if isinstance(value, (int, float)) else 'x'}"])
        done += 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("job", JOBS)
def test_misspelt_keys_are_refused(job, tmp_path, monkeypatch):
    refused(job, 10, 1, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_five_hundred_misspelt_keys_are_refused(job, tmp_path, monkeypatch):
    refused(job, 500, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize("job", JOBS)
def test_every_quantity_is_refused_without_its_unit(job):
    config = compose(job)
    for key in keys(config):
        value = OmegaConf.select(config, key)
        if key.split(".")[-1] in PHYSICAL and isinstance(value, str):
            with pytest.raises(SettingsError, match="has no unit"):
                to_si(compose(job, [f"{key}=1.0"]))
