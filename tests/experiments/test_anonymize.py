"""Training the anonymizer: every term reaches the generator, processes and kills change nothing."""

import logging
import shutil
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anonymizer.stargan import Anonymizer
from anonymizer.stargan.losses import fixed, gradient_penalty, hinge, score_loss
from anonymizer.stargan.recipe import StyleKind
from anonymizer.stargan.terms import Judges
from experiments.anonymize import domains_of
from experiments.anonymizing import build_recipe
from experiments.composing import compose
from experiments.data.errors import DataError
from experiments.health import Watch
from experiments.observer import rescaled_psf
from experiments.scene import generator_for
from experiments.settings import SettingsError, to_si
from experiments.store import load_tensors, read_json, read_jsonl, verify
from tests.experiments.processes import start
from tests.experiments.tiny_anonymize import (
    OVERRIDES,
    observer,
    people,
    recipe,
    run,
    stage,
    train,
    train_as,
    train_unsynced,
)

TERMS = {name: tuple(recipe(name)[1].terms) for name in ("veilens", "lopez2024")}


@pytest.fixture(scope="module", params=TERMS)
def viewed(request):
    """One step's view of a recipe, untrained, with its recipe."""
    made, networks = stage(request.param)
    duel = made.step.__self__
    setting = duel.setting
    batch = setting.batch(duel.people.crops, torch.tensor([0, 4]), "view", 0)
    return request.param, duel.recipe, duel._view(batch, 0), networks


def gradient_of(value, module):
    """Norm of the gradient of `value` at the weights of `module`."""
    found = torch.autograd.grad(
        value, list(module.parameters()), retain_graph=True, allow_unused=True
    )
    return float(sum(g.square().sum() for g in found if g is not None)) ** 0.5


def test_every_term_has_a_gradient_at_the_generator(viewed, monkeypatch):
    """The published heatmap term had none."""
    name, made, view, networks = viewed
    for limit in ("source_limit", "reference_limit"):  # let the guard be felt at any likeness
        for term in made.terms.values():
            if hasattr(term, limit):
                monkeypatch.setattr(term, limit, -1.0)
            if type(term).__name__ == "PathTerm":
                monkeypatch.setattr(term, "limit", -1.0)
            if type(term).__name__ == "SpreadTerm":
                monkeypatch.setattr(term, "limit", 10.0)
    values = made.generator_terms(view)
    assert tuple(values) == TERMS[name]
    for term, value in values.items():
        assert torch.isfinite(value), term
        assert gradient_of(value, networks.anonymizer.generator) > 0, term


def test_terms_leave_the_discriminator_alone(viewed):
    _, made, view, networks = viewed
    total = torch.stack(list(made.generator_terms(view).values())).sum()
    assert gradient_of(total, networks.discriminator) == 0
    for judge in (networks.judges.recognizer, networks.judges.landmarks):
        assert all(p.grad is None for p in judge.parameters())


def test_the_style_encoder_learns_through_latents_alone_in_the_published_recipe(viewed):
    name, made, view, networks = viewed
    encoder = networks.anonymizer.style_encoder
    if name == "lopez2024":
        assert gradient_of(made.terms["style_latent"](view), encoder) > 0
        assert gradient_of(made.terms["style_reference"](view), encoder) == 0
    else:
        assert gradient_of(made.terms["own_picture"](view), encoder) > 0
        assert gradient_of(made.terms["adversarial"](view), networks.anonymizer.mapping_network) > 0


@pytest.mark.parametrize("viewed", ["veilens"], indirect=True)
def test_guard_falls_to_zero_when_nobody_is_resembled(viewed):
    _, made, view, _ = viewed
    term = made.terms["identity"]
    before = term.source_limit, term.reference_limit
    term.source_limit = term.reference_limit = 1.0
    assert term(view).item() < 1e-6
    term.source_limit = -1.0
    assert term(view).item() > 0
    term.source_limit, term.reference_limit = before


def test_terms_whose_network_is_missing_are_listed_and_left_out():
    _, made = recipe("lopez2024")
    looks = observer()
    some = Judges(looks.pool["tiny"], looks.clear)
    assert made.off(some) == {"flow": "flow", "perceptual": "perceptual"}
    assert made.off(Judges()) == {
        "flow": "flow", "perceptual": "perceptual", "heatmap": "landmarks",
    }  # fmt: skip


def test_published_constants():
    _, made = recipe("lopez2024")
    weights = {name: term.weight for name, term in made.terms.items()}
    assert weights == {
        "adversarial": 1, "style_latent": 1, "style_reference": 1, "diversity": 1, "cycle": 7,
        "flow": 10, "perceptual": 2000, "heatmap": 1000,
    }  # fmt: skip
    assert made.terms["diversity"].steps == 100_000
    full = to_si(compose("anonymize", ["recipe=lopez2024", "budget=full"]))
    assert full["training"] | {"_target_": ""} == {
        "_target_": "", "steps": 300_000, "batch": 4, "learning_rate": 1e-4,
    }  # fmt: skip
    assert (made.betas, made.weight_decay, made.average) == ((0.0, 0.99), 1e-4, 0.999)
    assert (made.penalty, made.penalty_every, made.mapping_rate) == (1.0, 1, 0.01)
    assert (full["networks"]["style"], full["networks"]["latent"], full["hidden"]) == (64, 16, 512)


@pytest.mark.parametrize("viewed", ["lopez2024"], indirect=True)
def test_diversity_fades_in_a_straight_line(viewed):
    _, made, view, _ = viewed
    term = made.terms["diversity"]
    values = [term(replace(view, step=step)).item() for step in (0, 50_000, 100_000, 200_000)]
    assert values[0] < 0
    assert values[1:] == pytest.approx([values[0] / 2, 0, 0])


def test_losses_of_the_discriminator():
    scores = torch.tensor([0.0, 2.0])
    assert score_loss(scores, real=True).item() == pytest.approx(
        np.mean(np.log1p(np.exp([0.0, -2.0])))
    )
    assert score_loss(scores, real=False) > score_loss(scores, real=True)
    assert hinge(torch.tensor([0.5, 0.1]), 0.3).item() == pytest.approx(0.1)
    linear = torch.randn(3, 4, 5)
    penalty = gradient_penalty(lambda x: (x * linear).sum((1, 2, 3)), torch.rand(2, 3, 4, 5))
    assert penalty.item() == pytest.approx(0.5 * linear.square().sum().item(), rel=1e-5)


def test_fixed_weights_get_no_gradient_but_pass_it_on():
    layer, x = torch.nn.Linear(3, 2), torch.rand(4, 3, requires_grad=True)
    fixed(layer, x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad.any()


def test_the_average_starts_from_the_initialised_weights_and_follows():
    """The published averages started from other numbers than the networks."""
    made, networks = stage("veilens")
    own, average = networks.anonymizer.generator, networks.averaged.generator
    assert torch.equal(own.from_rgb.weight, average.from_rgb.weight)
    before = own.from_rgb.weight.detach().clone()
    decay = made.step.__self__.recipe.average
    made.step(0)  # the first one is copied
    first = own.from_rgb.weight.detach().clone()
    assert not torch.equal(first, before)
    made.step(1)
    expected = decay * first + (1 - decay) * own.from_rgb.weight
    torch.testing.assert_close(average.from_rgb.weight, expected)


def test_two_domains_have_references_of_the_drawn_domain():
    them = people(domains=2)
    for row in range(6):
        chosen, domain = them.others(row, 1, generator_for("t", row))
        assert them.domain[chosen].tolist() == [domain]
        assert them.crops.person[chosen[0]] != them.crops.person[row]
        again = them.again(row, generator_for("t", row))
        assert again != row
        assert them.crops.person[again] == them.crops.person[row]
    assert len({them.others(0, 1, generator_for("d", i))[1] for i in range(20)}) == 2
    with pytest.raises(ValueError, match=r"domain . has fewer than 3 people"):
        them.others(0, 3, generator_for("t"))
    made, _ = stage("lopez2024", domains=2)
    assert all(torch.isfinite(v) for v in made.step(0).values())


def test_domains_come_from_an_attribute():
    crops = people().crops
    settings = {"networks": {"domains": 2}, "domain": "glasses"}
    with pytest.raises(DataError, match="domain = 'glasses': the data have no such attribute"):
        domains_of(crops, settings)
    crops.attributes["glasses"] = np.arange(12) % 2
    assert domains_of(crops, settings).tolist() == [0, 1] * 6
    crops.attributes["glasses"] = np.arange(12) % 3
    with pytest.raises(DataError, match=r"from 0 to 2, expected whole numbers from 0 to 1"):
        domains_of(crops, settings)
    assert not domains_of(crops, {"networks": {"domains": 1}, "domain": None}).any()


def test_a_recipe_that_contradicts_itself_is_refused():
    node = recipe("veilens")[0]["recipe"]
    node["terms"]["style"]["passes"] = ["mixtures"]
    with pytest.raises(SettingsError, match=r"terms\.style\.passes names mixtures, expected"):
        build_recipe(node)
    with pytest.raises(ValueError, match="source = 'photo', expected latent, references or own"):
        StyleKind("photo")


def test_a_smaller_picture_sees_the_same_blur():
    """Energy and rms radius, in picture widths, of a PSF on coarser pixels."""
    y, x = torch.meshgrid(*(torch.arange(61.0) - 30 for _ in range(2)), indexing="ij")
    psf = torch.exp(-(x**2 + y**2) / (2 * 8.0**2)).expand(3, -1, -1) * 1e-3
    small = rescaled_psf(psf, 0.4)
    torch.testing.assert_close(small.sum((1, 2)), psf.sum((1, 2)))
    half = small.shape[-1] // 2
    line = torch.arange(small.shape[-1]) - half
    rms = ((small[0].sum(0) * line**2).sum() / small[0].sum()).sqrt()
    assert rms.item() == pytest.approx(0.4 * 8.0, rel=0.05)  # averaging over pixels adds 1/12 px^2
    torch.testing.assert_close(small, small.flip(-1), atol=1e-9, rtol=1e-4)


def healthy(**changes):
    values = {
        "health/real": 0.8, "health/fake": 0.8, "health/spread": 0.3, "health/spread_real": 0.3,
        "gradient/generator": 1.0,
    }  # fmt: skip
    return {name: torch.tensor(value) for name, value in (values | changes).items()}


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"health/spread": 0.01}, "collapse", "collapse to one face"),
        ({"health/real": 1.0, "health/fake": 1.0}, "overpowered", "discriminator is right on"),
        ({"gradient/generator": 0.0}, "gradient", "gradient has norm 0"),
    ],
)
def test_trouble_is_said_once_in_a_while(caplog, values, kind, words):
    watch = Watch()
    with caplog.at_level(logging.WARNING):
        said = [watch.update(step, healthy(**values)) for step in range(600)]
    assert [step for step, kinds in enumerate(said) if kinds == [kind]] == [199]
    assert words in caplog.text
    assert [watch.update(step, healthy(**values)) for step in (698, 699)] == [[], [kind]]


def test_health_keeps_silent():
    watch = Watch()
    assert not any(watch.update(step, healthy()) for step in range(400))


def start_two(target, *arguments):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [start(target, common | {"RANK": str(rank)}, *arguments) for rank in range(2)]
    for process in ranks:
        process.join(100)
    return [process.exitcode for process in ranks]


def test_two_processes_equal_one(tmp_path):
    assert start_two(train_as, tmp_path / "two") == [0, 0]
    train(tmp_path / "one")
    one, two = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [r["step"] for r in two] == [1, 2, 3]
    for first, second in zip(one, two, strict=True):
        for name in first:
            if name.startswith("loss/"):
                # float32 sums in another order, amplified by Adam's normalised steps
                assert second[name] == pytest.approx(first[name], rel=2e-2, abs=2e-3), name
    # before any step the two are equal but for rounding
    for name in ("loss/discriminator", "loss/own_picture", "loss/identity", "loss/landmarks"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-4, abs=1e-5), name


def weights(folder, step):
    return load_tensors(folder / f"checkpoints/anonymizer/step_{step:06d}/weights.safetensors")[0]


def test_killed_and_continued_it_ends_bit_for_bit_the_same(tmp_path):
    train(tmp_path / "whole", steps=6)
    place = tmp_path / "killed"
    process = start(train_unsynced, place, 6)
    deadline = time.monotonic() + 60
    while not (place / "checkpoints/anonymizer/step_000002").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.join()
    train(place, steps=6)
    whole, again = weights(tmp_path / "whole", 6), weights(place, 6)
    assert whole.keys() == again.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name


def test_the_job_leaves_an_anonymizer_its_curve_and_its_sheets(finished_run):
    place = finished_run.parent
    shutil.rmtree(place / "faces", ignore_errors=True)
    words = [*OVERRIDES, f"run={finished_run}", "hydra.run.dir=faces"]
    process = start(run, place, words)
    process.join(100)
    assert process.exitcode == 0
    folder = place / "faces"
    verify(folder)
    network = Anonymizer.load(folder / "anonymizer.safetensors")
    assert network.size == 64
    lines = read_jsonl(folder / "metrics.jsonl")
    assert [r["step"] for r in lines if "loss/total" in r] == [1, 2, 3]
    assert lines[0]["loss/penalty"] > 0
    assert "loss/penalty" not in lines[1]
    assert set(read_json(folder / "metrics.json")) == {
        "spread", "nme", "nme_clear", "cosine_source", "cosine_noise", "cosine_drawn",
    }  # fmt: skip
    with Image.open(folder / "samples/step_000003.png") as sheet:
        assert sheet.size == (2 * 64, 6 * 64)
    assert read_json(folder / "terms.json")["off"] == {}
    learned = set(read_json(folder / "people.json")["learned_from"])
    assert len(learned) == 6  # two of eight are never learned from


def test_a_camera_that_is_not_there_is_refused(finished_run):
    from experiments import anonymize

    words = [*OVERRIDES, f"run={finished_run}", "seen_by=fisheye"]
    with pytest.raises(SettingsError, match=r"seen_by = 'fisheye': .* has no such camera"):
        anonymize.check(to_si(compose("anonymize", words)))
    with pytest.raises(SettingsError, match="run = null: the camera comes from a co-design run"):
        anonymize.check(to_si(compose("anonymize", OVERRIDES)))


def test_pictures_of_another_side_than_the_networks_are_refused():
    from experiments import anonymize

    words = [*OVERRIDES, "run=shipped", "data.size=128"]
    with pytest.raises(SettingsError, match=r"data\.size = 128 px: .* size = 64 px"):
        anonymize.check(to_si(compose("anonymize", words)))
