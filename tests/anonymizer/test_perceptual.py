"""Distances of pictures: what every distance obeys, and LPIPS as its files lay it out."""

import pytest
import torch
from torch import nn

from anonymizer.checkpoints import WeightsError, hash_file, read_state
from anonymizer.perceptual import Lpips, StructuralDistance, load_lpips
from tests.anonymizer.protection.reference import faces
from tests.shared_data import shared

VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
WIDTHS = {"vgg16": (64, 128, 256, 512, 512), "alexnet": (64, 192, 384, 256, 256)}


def published_vgg16():
    """Return VGG-16's features as torchvision numbers them."""
    layers, before = [], 3
    for width in VGG16:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


def published_alexnet():
    """Return AlexNet's features as torchvision numbers them, but for the last pooling."""
    layers = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for before, width in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def load(folder, network):
    """Return LPIPS of the two files in a folder."""
    return load_lpips(
        network=network,
        backbone="backbone.pth",
        backbone_sha256=hash_file(folder / "backbone.pth"),
        heads="lin.pth",
        heads_sha256=hash_file(folder / "lin.pth"),
        search=[folder],
    )


@pytest.fixture(scope="module")
def lpips(tmp_path_factory):
    """Return by network: LPIPS as loaded, the layers and the heads it was loaded from."""
    torch.manual_seed(0)
    found = {}
    for network, features in (("vgg16", published_vgg16()), ("alexnet", published_alexnet())):
        folder = tmp_path_factory.mktemp(network)
        for layer in features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)  # features keep their scale
        state = {f"features.{name}": t for name, t in features.state_dict().items()}
        state["classifier.6.bias"] = torch.zeros(1000)
        heads = {
            f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1)
            for i, width in enumerate(WIDTHS[network])
        }
        torch.save(state, folder / "backbone.pth")
        torch.save(heads, folder / "lin.pth")
        found[network] = load(folder, network), features, heads
    return found


@pytest.fixture(params=["vgg16", "alexnet", "structural"])
def distance(request, lpips):
    return StructuralDistance() if request.param == "structural" else lpips[request.param][0]


def test_zero_for_equal_pictures_symmetric_and_larger_for_larger_changes(distance):
    a = faces(2, 32, 40)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(distance(a, a), torch.zeros(2), rtol=0, atol=1e-5)
    near, far = distance(a, a + 0.02 * noise), distance(a, a + 0.2 * noise)
    assert near.shape == (2,)
    assert (far > near).all()
    assert (near > 0).all()
    torch.testing.assert_close(distance(a + 0.2 * noise, a), far)


def test_gradient_reaches_both_pictures(distance):
    a, b = faces(1, 32, 40).requires_grad_(), faces(1, 32, 40, seed=1).requires_grad_()
    distance(a, b).sum().backward()
    for picture in (a, b):
        assert torch.isfinite(picture.grad).all()
        assert picture.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "taps"), [("vgg16", (3, 8, 15, 22, 29)), ("alexnet", (1, 4, 7, 9, 11))]
)
def test_lpips_is_its_formula_over_torchvisions_layers(name, taps, lpips):
    """Taps after the last activation of each stage, features of unit length, mean over places."""
    network, features, heads = lpips[name]
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
            if i in taps:
                u, v = (f / (f.norm(dim=1, keepdim=True) + 1e-10) for f in (x, y))
                weighted = heads[f"lin{tap}.model.1.weight"][0] * (u - v) ** 2
                total, tap = total + weighted.sum(dim=1).mean(dim=(1, 2)), tap + 1
        torch.testing.assert_close(network(a, b), total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", ["vgg16", "alexnet"])
def test_published_heads_fit_and_weigh_no_feature_negatively(network):
    short = network.removesuffix("16").removesuffix("net")
    state = read_state(shared(f"data/perceptual/lpips_v0.1_{short}_lin.pth"))
    assert [tuple(t.shape) for t in state.values()] == [(1, w, 1, 1) for w in WIDTHS[network]]
    assert all((t >= 0).all() for t in state.values())


def test_file_without_the_backbone_is_refused(tmp_path):
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "lin.pth")
    torch.save({"classifier.6.bias": torch.zeros(1000)}, tmp_path / "backbone.pth")
    with pytest.raises(WeightsError, match=r"do not fit Lpips: it lacks features\.0\.bias"):
        load(tmp_path, "vgg16")


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="network = 'squeeze', expected vgg16 or alexnet"):
        Lpips("squeeze")
