"""Inception-v3: the published size, both views of a picture, files with their classifiers."""

import pytest
import torch
from safetensors.torch import save_file

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.metrics import Inception, load_inception


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {variant: Inception(variant).eval() for variant in ("clean", "cvpr2024")}


def test_as_many_parameters_as_published(networks):
    """23,834,568 with the classifier of 2048 x 1000 + 1000, without the auxiliary one."""
    for network in networks.values():
        assert sum(p.numel() for p in network.parameters()) == 23_834_568 - 2_049_000


def test_a_file_with_its_classifiers_is_read_and_the_variants_differ(networks, tmp_path):
    state = dict(networks["clean"].state_dict())
    state |= {"fc.weight": torch.zeros(1), "AuxLogits.conv0.conv.weight": torch.zeros(1)}
    path = tmp_path / "inception.safetensors"
    save_file(state, path)
    given = {"file": path.name, "sha256": hash_file(path), "search": [tmp_path]}
    clean, other = (load_inception(variant, **given) for variant in ("clean", "cvpr2024"))
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = clean(pictures)
        torch.testing.assert_close(features, networks["clean"](pictures))
        assert features.shape == (2, 2048)
        assert not torch.allclose(features, other(pictures))
    assert not any(p.requires_grad for p in clean.parameters())
    with pytest.raises(WeightsError, match="not found"):
        load_inception("clean", file="none.pth", sha256="0" * 64)
    with pytest.raises(ValueError, match="variant = 'tf', expected clean or cvpr2024"):
        Inception("tf")


def test_each_variant_has_its_view(networks):
    """White is 1 for the one, (1 - mean) / deviation for the other; only one is antialiased."""
    white = torch.ones(1, 3, 400, 400)
    assert networks["clean"].view(white).mean().item() == pytest.approx(1)
    other = networks["cvpr2024"].view(white).mean((2, 3))[0]
    torch.testing.assert_close(other, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
    stripes = white.clone()
    stripes[..., ::2] = 0  # finer than the network's grid
    clean = networks["clean"].view(stripes) / 2
    aliased = networks["cvpr2024"].view(stripes) * 0.225
    assert clean[..., 5:-5].std() < 0.5 * aliased[..., 5:-5].std()
