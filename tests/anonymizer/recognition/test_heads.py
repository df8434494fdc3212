"""Heads against their formulas, their limits and finite differences."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.recognition import AdaFaceHead, AngularHead, ArcFaceHead, CosFaceHead

HEADS = {
    "arcface": ArcFaceHead,
    "cosface": CosFaceHead,
    "adaface": AdaFaceHead,
    "angular": AngularHead,
}

MARGIN = {"arcface": "angular_margin", "cosface": "cosine_margin", "adaface": "adaptive_margin"}


def make(name, people=5, dimension=4, **kwargs):
    torch.manual_seed(1)
    return HEADS[name](people, dimension, **kwargs).double()


def batch(n=6, dimension=4, people=5):
    source = torch.Generator().manual_seed(2)
    features = 3 * torch.randn(n, dimension, dtype=torch.float64, generator=source)
    return features, torch.arange(n) % people


@pytest.mark.parametrize("name", HEADS)
def test_gradient_is_that_of_finite_differences(name):
    head = make(name).eval()
    features, people = batch()
    head.weight.data *= 100  # finite differences must not be large beside the directions

    def loss(x, w):
        return torch.func.functional_call(head, {"weight": w}, (x, people))

    if name == "adaface":
        # quality is a constant to the gradient by definition: hold the lengths by a far scale
        head.std.fill_(1e9)
    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), head.weight.clone()))


def test_arcface_logit_is_the_cosine_of_the_widened_angle():
    head = make("arcface", angular_margin=0.5, scale=10.0)
    features, people = batch()
    cosines, logits = head.cosines(features), head.logits(features, people)
    own = F.one_hot(people, 5).bool()
    angle = cosines[own].acos()
    near = angle < math.pi - 0.5
    assert near.any()
    torch.testing.assert_close(logits[own][near], 10 * (angle[near] + 0.5).cos())
    torch.testing.assert_close(logits[~own], 10 * cosines[~own])


@pytest.mark.parametrize("name", ["arcface", "adaface", "cosface", "angular"])
def test_true_logit_falls_with_the_angle_over_the_whole_half_turn(name):
    head = make(name, people=2, dimension=2).train()
    head.weight.data = torch.eye(2, dtype=torch.float64)
    angle = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    features = 20 * torch.stack((angle.cos(), angle.sin()), dim=1)
    logits = head.logits(features, torch.zeros(200, dtype=torch.long))[:, 0]
    steps = logits.diff()
    # AdaFace holds its widened angle at the end of the half turn
    assert (steps <= (1e-9 if name == "adaface" else -1e-9)).all()
    if name == "arcface":  # its published continuation lies a little lower
        steps = steps[angle[1:] < math.pi - head.margin]
    assert steps.abs().max() < 3  # no jump: a cosine falls by at most 64 * 0.016 a step


@pytest.mark.parametrize("name", ["arcface", "cosface", "adaface"])
def test_without_margin_all_are_the_normalised_softmax(name):
    head = make(name, **{MARGIN[name]: 0.0}, scale=8.0).eval()
    features, people = batch()
    torch.testing.assert_close(
        head(features, people), F.cross_entropy(8 * head.cosines(features), people)
    )


@pytest.mark.parametrize("name", HEADS)
def test_margin_only_ever_lowers_the_true_logit(name):
    head = make(name).eval()
    features, people = batch()
    own = F.one_hot(people, 5).bool()
    plain = head.cosines(features)
    plain = plain * (features.norm(dim=1, keepdim=True) if name == "angular" else head.scale)
    logits = head.logits(features, people)
    torch.testing.assert_close(logits[~own], plain[~own])
    assert (logits[own] < plain[own]).all()


def test_adaface_margin_is_angular_for_poor_and_additive_for_good_pictures():
    """q = -1: s cos(theta + m); q = 1: s [cos(theta - m) - 2 m]; q = 0: s [cos(theta) - m]."""
    head = make(
        "adaface", people=2, dimension=2, adaptive_margin=0.4, concentration=1.0, scale=1.0
    ).eval()
    head.weight.data = torch.eye(2, dtype=torch.float64)
    head.mean.fill_(10.0)
    head.std.fill_(4.0)
    theta = 1.0
    direction = torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64)
    lengths = torch.tensor([6.0, 10.0, 14.0], dtype=torch.float64)  # one deviation either way
    logits = head.logits(lengths[:, None] * direction, torch.zeros(3, dtype=torch.long))[:, 0]
    expected = [math.cos(1.4), math.cos(1.0) - 0.4, math.cos(0.6) - 0.8]
    # the deviation is divided by 4.001
    np.testing.assert_allclose(logits.detach(), expected, atol=3e-4)


def test_adaface_statistics_follow_the_lengths_in_training_only():
    head = make("adaface", momentum=0.5)
    features, people = batch()
    lengths = features.norm(dim=1)
    head.eval()(features, people)
    assert (head.mean, head.std) == (20, 100)
    head.train()(features, people)
    torch.testing.assert_close(head.mean, (20 + lengths.mean()) / 2)
    torch.testing.assert_close(head.std, (100 + lengths.std()) / 2)


def test_adaface_quality_steers_the_margin_not_the_length():
    """A network must not gain by shortening its features: quality carries no gradient."""
    head = make("adaface").eval()
    features, people = batch()
    features.requires_grad_()
    head(features, people).backward()
    along = (features.grad * features).sum(dim=1)
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-12, rtol=0)


@pytest.mark.parametrize("theta", np.linspace(0.05, 3.1, 12))
def test_angular_margin_is_the_multiple_angle_made_monotone(theta):
    head = make("angular", people=2, dimension=2)
    head.weight.data = torch.eye(2, dtype=torch.float64)
    features = 3.0 * torch.tensor([[math.cos(theta), math.sin(theta)]], dtype=torch.float64)
    cosine, steep = head.pair(features)
    k = math.floor(4 * theta / math.pi)
    assert cosine[0, 0].item() == pytest.approx(3 * math.cos(theta))
    assert steep[0, 0].item() == pytest.approx(3 * ((-1) ** k * math.cos(4 * theta) - 2 * k))


def test_angular_margin_comes_in_with_the_calls_of_training():
    head = make("angular")
    features, people = batch()
    blends = []
    for _ in range(3):
        head.train()(features, people)
        blends.append(head.blend)
    head.eval()(features, people)
    assert blends == pytest.approx([1500 / 1.1, 1500 / 1.2, 1500 / 1.3])
    assert head.blend == blends[-1]
    head.num_batches_tracked.fill_(10_000)
    assert head.blend == 5
    cosine, steep = head.pair(features)
    own = F.one_hot(people, 5).bool()
    expected = torch.where(own, (5 * cosine + steep) / 6, cosine)
    torch.testing.assert_close(head.logits(features, people), expected)


@pytest.mark.parametrize("name", HEADS)
def test_training_on_its_loss_gathers_the_features_of_each_person(name):
    head = make(name, dimension=16).train()
    features, people = batch(20, dimension=16)
    features.requires_grad_()
    optimizer = torch.optim.Adam([features, *head.parameters()], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head(features, people).backward()
        optimizer.step()
    cosines = head.cosines(features)
    assert (cosines.argmax(dim=1) == people).all()


@pytest.mark.parametrize(
    ("name", "kwargs", "text"),
    [
        ("arcface", {"angular_margin": 1.6}, "margin = 1.6 rad"),
        ("cosface", {"cosine_margin": -0.1}, "margin = -0.1"),
        ("cosface", {"scale": 0.0}, "scale = 0"),
        ("adaface", {"momentum": 0.0}, "momentum = 0"),
        ("adaface", {"concentration": -1.0}, "concentration = -1"),
        ("angular", {"people": 1}, "people = 1"),
    ],
)
def test_settings_out_of_range_are_refused(name, kwargs, text):
    with pytest.raises(ValueError, match=text):
        make(name, **kwargs)
