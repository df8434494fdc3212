"""Training of PRO-Face S: the stated sums, what learns, and rounding in the loop."""

import pytest
import torch
from hydra.utils import instantiate

from anonymizer.colour import encode_srgb, round_to_bytes
from anonymizer.perceptual import StructuralDistance
from anonymizer.protection.key_maps import draw_key_maps
from anonymizer.protection.obfuscators import named
from anonymizer.protection.resemblance import loudness_shown, structure_shown
from anonymizer.protection.secure_flow import ProFaceS
from anonymizer.protection.secure_flow_training import (
    CoverRecovery,
    FlowView,
    NoiseRecovery,
    ProFaceSTraining,
)
from anonymizer.protection.training import FaceBatch
from anonymizer.protection.utility import AttributeHead, AttributeUtility, IdentityUtility
from anonymizer.recognition import CompactRecognizer, Recognizer
from tests.anonymizer.protection.reference import faces
from tests.anonymizer.published import group, published


def training(wrong=None, decoy=False, **given):
    torch.manual_seed(0)
    protection = ProFaceS(named("blur_15_2_4"), blocks=1, decoy=decoy)
    for parameter in protection.network.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    return ProFaceSTraining(protection, wrong or NoiseRecovery(), StructuralDistance(), **given)


def batch(n=2):
    shown = faces(n, 24, 32)[:, None]
    return FaceBatch(shown, torch.zeros(n, 1, dtype=torch.int64))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def view(seed=0):
    """Return five different pictures."""
    return FlowView(*(faces(2, 24, 32, seed=seed + i) for i in range(5)))


def far(a, b):
    return (2 * (a - b).abs()).mean(dim=(1, 2, 3))


def test_noise_recovery_is_its_stated_sum():
    d, v = StructuralDistance(), view()
    terms = NoiseRecovery(perceptual_margin=0.3, pixel_margin=0.1).terms(v, d)
    look = (5 * d(v.cover, v.protected) + far(v.cover, v.protected)).mean()
    torch.testing.assert_close(terms["appearance"], 0.3 * look)
    torch.testing.assert_close(terms["recovery"], 0.5 * far(v.right, v.original).mean())
    x = v.original
    gaps = [d(x, v.right) - d(x, v.wrong) + 0.3, far(x, v.right) - far(x, v.wrong) + 0.1]
    wanted = 0.2 * sum(gap.clamp(min=0) for gap in gaps).mean()
    torch.testing.assert_close(terms["wrong_key"], wanted)
    torch.testing.assert_close(terms["structure"], structure_shown(v.wrong, x).mean())
    torch.testing.assert_close(terms["loudness"], 0.3 * loudness_shown(v.wrong, x).mean())


def test_what_shows_counts_from_the_stated_step_on():
    trainable, shown = training(NoiseRecovery(shown_until=2)), batch()
    found = [trainable.losses(shown, generator(i)) for i in range(3)]
    for name in ("structure", "loudness"):
        assert [bool(terms[name] > 0) for terms in found] == [False, False, True]
    assert all(terms["wrong_key"] > 0 for terms in found)
    # a training that goes on has not forgotten how far it was
    again = training(NoiseRecovery(shown_until=2))
    again.load_state_dict(trainable.state_dict())
    assert again.losses(shown, generator())["structure"] > 0


def test_cover_recovery_is_its_stated_sum():
    d, v = StructuralDistance(), view()
    terms = CoverRecovery(perceptual_margin=0.3).terms(v, d)
    look = (5 * d(v.cover, v.protected) + far(v.cover, v.protected)).mean()
    torch.testing.assert_close(terms["appearance"], 0.2 * look)
    torch.testing.assert_close(terms["recovery"], 0.3 * far(v.right, v.original).mean())
    x, y = v.original, v.cover
    gaps = [d(v.right, x) - d(v.right, y) + 0.3, d(v.wrong, y) - d(v.wrong, x) + 0.3]
    wanted = 0.3 * far(v.wrong, y).mean() + 0.5 * sum(g.clamp(min=0) for g in gaps).mean()
    torch.testing.assert_close(terms["wrong_key"], wanted)


def test_recovery_is_trained_through_the_rounded_picture():
    trainable, shown = training(), batch()
    g = generator(4)
    images = shown.faces[:, 0]
    protection = trainable.protection
    covers = protection.obfuscator.sample(images, g)
    keys, _ = (draw_key_maps(images, g) for _ in range(2))
    with torch.no_grad():
        stored = round_to_bytes(protection.hide(images, covers, keys))
        right = protection.find(stored, keys)
        found = trainable.losses(shown, generator(4))["recovery"]
    wanted = 0.5 * far(right, encode_srgb(images)).mean()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    bytes_ = 255 * stored
    torch.testing.assert_close(bytes_, bytes_.round(), rtol=0, atol=1e-4)


def test_rounding_passes_the_gradient_except_where_it_clips():
    values = torch.tensor([-0.2, 0.1234, 0.9, 1.3], requires_grad=True)
    (3 * round_to_bytes(values)).sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.0, 3.0, 3.0, 0.0]))


@pytest.mark.parametrize("wrong", [NoiseRecovery(), CoverRecovery()])
def test_gradient_of_every_term_reaches_the_flow(wrong):
    trainable = training(wrong, decoy=wrong.decoy)
    for name in trainable.losses(batch(), generator()):
        trainable.zero_grad()
        trainable.losses(batch(), generator())[name].backward()
        gradients = [p.grad for p in trainable.protection.network.parameters()]
        assert all(torch.isfinite(g).all() for g in gradients if g is not None), name
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0, name


def test_descent_lessens_the_sum_and_learns_the_flow_alone():
    trainable, shown = training(), batch()
    network = trainable.players()["protection"]
    assert network is trainable.protection.network
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    sums = []
    for _ in range(5):
        loss = sum(trainable.losses(shown, generator(3)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
    assert sums[-1] < 0.9 * sums[0]


def test_mode_of_wrong_keys_must_be_the_declared_one():
    with pytest.raises(ValueError, match="decoy = True, but NoiseRecovery"):
        training(NoiseRecovery(), decoy=True)


# Utility


def test_identity_is_kept_when_nothing_changed_and_the_term_grows_with_the_change():
    torch.manual_seed(0)
    keep = IdentityUtility(CompactRecognizer(), weight=2.0)
    a, b = faces(2, 24, 32), faces(2, 24, 32, seed=1)
    torch.testing.assert_close(keep(a, a), torch.tensor(0.0), rtol=0, atol=1e-5)
    assert keep(b, a) > 1e-4


def test_attribute_head_has_the_published_places():
    shapes = {n: tuple(t.shape) for n, t in AttributeHead().state_dict().items()}
    assert shapes == {
        "head.0.weight": (64, 512),
        "head.0.bias": (64,),
        "head.3.weight": (8, 64),
        "head.3.bias": (8,),
        "head.6.weight": (2, 8),
        "head.6.bias": (2,),
    }


def test_attribute_term_is_least_where_the_head_says_the_same():
    class Wide(Recognizer):
        dimension = 512

        def embed(self, faces):
            return torch.nn.functional.adaptive_avg_pool2d(faces, 14).flatten(1)[:, :512] - 0.5

    torch.manual_seed(1)
    keep = AttributeUtility(Wide(), AttributeHead().eval(), weight=1.0)
    for parameter in keep.head.parameters():
        torch.nn.init.normal_(parameter)
    a, b = faces(2, 24, 32), faces(2, 24, 32, seed=1).requires_grad_()
    loss = keep(b, a)
    loss.backward()
    assert keep(a, a) < loss
    assert b.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="expected 512"):
        AttributeUtility(CompactRecognizer(), AttributeHead())


def test_utility_becomes_a_term():
    terms = training(utility=[IdentityUtility(CompactRecognizer())]).losses(batch(), generator())
    assert set(terms) == {
        "appearance", "recovery", "wrong_key", "structure", "loudness", "utility_0"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["proface", "proface_s", "proface_s_decoy"])
def test_configs_of_method_and_training_belong_together(name):
    protection = published(f"method={name}")
    trainable = instantiate(group(f"trainable={name}"), _convert_="all", protection=protection)
    assert trainable.players()["protection"] is protection.learned


class Seen(Exception):
    """Carries what the flow is given."""


def test_windows_are_the_same_part_of_face_and_cover_and_elsewhere_in_each_picture():
    one = training(window=16)
    height, width = 24, 32
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((x, y, x + y)).float().expand(6, 3, height, width) / 64

    def hide(faces, covers, keys):
        raise Seen(faces, covers, keys)

    one.protection.hide = hide
    one.protection.obfuscator.sample = lambda faces, _: 1 - faces
    with pytest.raises(Seen) as found:
        one.losses(FaceBatch(places[:, None], torch.zeros(6, 1, dtype=torch.int64)), generator())
    faces_, covers, keys = found.value.args
    assert faces_.shape == covers.shape == (6, 3, 16, 16)
    assert keys.shape == (6, 1, 16, 16)
    torch.testing.assert_close(covers, 1 - faces_)
    # whole squares of the picture: one pixel to the right is one more in the ramp
    torch.testing.assert_close(faces_[:, 0].diff(dim=2), torch.full((6, 16, 15), 1 / 64))
    corners = {tuple(corner) for corner in faces_[:, :2, 0, 0].tolist()}
    assert len(corners) > 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 17}, "multiple of 2"),
        ({"window": 8}, "from 16"),
        ({"window": 16, "utility": [IdentityUtility(CompactRecognizer())]}, "whole faces"),
    ],
)
def test_windows_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        training(**given)


def test_a_window_larger_than_the_faces_is_refused():
    with pytest.raises(ValueError, match="window = 48 px, faces are 24 x 32 px"):
        training(window=48).losses(batch(), generator())
