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


def rounds(job):
    """Return choices that together show every option once: the n-th of every group at a time."""
    _, groups = describe(job)
    places = [group.rpartition("@")[2].replace("/", ".") for group in groups]
    groups = {  # without those that only one option of another group has
        group: found
        for group, found in groups.items()
        if not any(group.rpartition("@")[2].startswith(f"{place}.") for place in places)
    }
    count = max((len(options) for _, options in groups.values()), default=0)
    return [
        [f"{group}={options[n]}" for group, (_, options) in groups.items() if n < len(options)]
        for n in range(count)
    ]


def load(job, overrides):
    """Return the settings, with a value for every one that has no default."""
    config = compose(job, overrides)
    if missing := OmegaConf.missing_keys(config):
        config = compose(job, [*overrides, *(f"{key}=given" for key in sorted(missing))])
    return to_si(config)


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
    ("job", "options"), [(job, options) for job in JOBS for options in [[], *rounds(job)]]
)
def test_composes_and_fits_its_targets(job, options):
    values = load(job, options)
    for path, node in parts(values):
        known = set(inspect.signature(_locate(node["_target_"], path)).parameters)
        extra = {key for key in node if key not in ("_target_", "_partial_")} - known
        assert not extra, f"{path}: {node['_target_']} takes {sorted(known)}, not {sorted(extra)}"


@pytest.mark.parametrize(
    "file", sorted(ROOT.rglob("*.yaml")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_floats_have_a_point_and_no_path_is_absolute(file):
    """YAML reads 1e-4 as text; a path of one machine does not exist on another."""
    text = "\n".join(line.partition("#")[0] for line in file.read_text("utf-8").splitlines())
    for word in text.replace(",", " ").replace("[", " ").replace("]", " ").split():
        assert not word.startswith(("~", "C:")), word
        device = word.startswith("/dev/")  # a port, which a lab edits
        assert device or not (word.startswith("/") and "/" in word[1:]), word
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
    refused(job, 5, 1, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_five_hundred_misspelt_keys_are_refused(job, tmp_path, monkeypatch):
    refused(job, 500, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize("job", JOBS)
def test_quantities_are_refused_without_their_unit(job):
    config = compose(job)
    physical = [
        key
        for key in keys(config)
        if key.split(".")[-1] in PHYSICAL and isinstance(OmegaConf.select(config, key), str)
    ]
    for key in random.Random(3).sample(physical, min(3, len(physical))):
        with pytest.raises(SettingsError, match="has no unit"):
            to_si(compose(job, [f"{key}=1.0"]))
