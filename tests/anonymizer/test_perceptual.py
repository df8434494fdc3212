"""Distances of pictures: what every distance obeys, and LPIPS as its files lay it out."""

import pytest
import torch
from torch import nn

from anonymizer.checkpoints import WeightsError, hash_file, read_state
from anonymizer.perceptual import Lpips, StructuralDistance, load_lpips
from tests.anonymizer.protection.reference import faces
from tests.shared_data import shared

VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def published_vgg16():
    """Return VGG-16's features as torchvision numbers them, with weights that keep their scale."""
    layers, before = [], 3
    for width in VGG16:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight)
        before = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def lpips(tmp_path_factory):
    torch.manual_seed(0)
    folder, features = tmp_path_factory.mktemp("lpips"), published_vgg16()
    state = {f"features.{name}": t for name, t in features.state_dict().items()}
    state["classifier.6.bias"] = torch.zeros(1000)
    widths = (64, 128, 256, 512, 512)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(widths)}
    torch.save(state, folder / "vgg16.pth")
    torch.save(heads, folder / "lin.pth")
    network = load_lpips(
        backbone="vgg16.pth",
        backbone_sha256=hash_file(folder / "vgg16.pth"),
        heads="lin.pth",
        heads_sha256=hash_file(folder / "lin.pth"),
        search=[folder],
    )
    return network, features, heads


@pytest.mark.parametrize("kind", ["lpips", "structural"])
def test_zero_for_equal_pictures_symmetric_and_larger_for_larger_changes(kind, lpips):
    distance = lpips[0] if kind == "lpips" else StructuralDistance()
    a = faces(2, 32, 40)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(distance(a, a), torch.zeros(2), rtol=0, atol=1e-5)
    near, far = distance(a, a + 0.02 * noise), distance(a, a + 0.2 * noise)
    assert near.shape == (2,)
    assert (far > near).all()
    assert (near > 0).all()
    torch.testing.assert_close(distance(a + 0.2 * noise, a), far)


@pytest.mark.parametrize("kind", ["lpips", "structural"])
def test_gradient_reaches_both_pictures(kind, lpips):
    distance = lpips[0] if kind == "lpips" else StructuralDistance()
    a, b = faces(1, 32, 40).requires_grad_(), faces(1, 32, 40, seed=1).requires_grad_()
    distance(a, b).sum().backward()
    for picture in (a, b):
        assert torch.isfinite(picture.grad).all()
        assert picture.grad.abs().sum() > 0


def test_lpips_is_its_formula_over_torchvisions_layers(lpips):
    """Taps after the last activation of each stage, features of unit length, mean over places."""
    network, features, heads = lpips
    a, b = faces(2, 32, 40), faces(2, 32, 40, seed=1)
    x, y = (  # the scaling that LPIPS states, for values in [-1, 1]
        (2 * v - 1 - torch.tensor([-0.030, -0.088, -0.188]).reshape(3, 1, 1))
        / torch.tensor([0.458, 0.448, 0.450]).reshape(3, 1, 1)
        for v in (a, b)
    )
    total, tap = torch.zeros(2), 0
    with torch.no_grad():
        for i, layer in enumerate(features):
            x, y = layer(x), layer(y)
            if i in (3, 8, 15, 22, 29):
                u, v = (f / (f.norm(dim=1, keepdim=True) + 1e-10) for f in (x, y))
                weighted = heads[f"lin{tap}.model.1.weight"][0] * (u - v) ** 2
                total, tap = total + weighted.sum(dim=1).mean(dim=(1, 2)), tap + 1
        torch.testing.assert_close(network(a, b), total, rtol=1e-4, atol=1e-6)


def test_published_heads_fit_and_weigh_no_feature_negatively():
    state = read_state(shared("data/perceptual/lpips_v0.1_vgg_lin.pth"))
    own = {n: t.shape for n, t in Lpips().heads.state_dict().items()}
    assert {n[3] + ".weight": t.shape for n, t in state.items()} == own
    assert all((t >= 0).all() for t in state.values())


def test_file_without_the_backbone_is_refused(tmp_path):
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "lin.pth")
    sha256 = hash_file(tmp_path / "lin.pth")
    with pytest.raises(WeightsError, match=r"do not fit Lpips: it lacks"):
        load_lpips(
            backbone="lin.pth",
            backbone_sha256=sha256,
            heads="lin.pth",
            heads_sha256=sha256,
            search=[tmp_path],
        )
