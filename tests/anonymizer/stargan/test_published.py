"""The authors' files: a file of their layout, written here, is read into our networks."""

import pytest
import torch

from anonymizer.checkpoints import WeightsError
from anonymizer.regressors import FanRegressor
from anonymizer.stargan import Anonymizer, Discriminator
from anonymizer.stargan.blocks import initialize
from anonymizer.stargan.published import (
    PublishedLandmarks,
    fan_from_published,
    fan_names,
    fan_to_published,
    published_states,
    read_discriminator,
    read_fan,
    read_published,
)

NAMES = ("generator", "mapping_network", "style_encoder")


def anonymizer(seed):
    torch.manual_seed(seed)
    return Anonymizer(
        size=64, width=1 / 32, hidden=16, domains=2, high_pass=1.0, door="published", signed=True
    )


def fan(seed):
    torch.manual_seed(seed)
    network = FanRegressor(landmarks=98, norm="batch")
    initialize(network)
    return network.eval()


def disguised(states, *, parallel):
    """As the published program saves: parallel training and the constant of the high pass."""
    prefix = "module." if parallel else ""
    states = {n: {prefix + k: v for k, v in s.items()} for n, s in states.items()}
    states["generator"][f"{prefix}hpf.filter"] = torch.ones(3, 3)
    return states


@pytest.mark.parametrize("parallel", [False, True])
def test_averages_survive_a_published_file(tmp_path, parallel):
    first, second = anonymizer(1), anonymizer(2)
    torch.save(
        disguised(published_states(first), parallel=parallel), tmp_path / "100000_nets_ema.ckpt"
    )
    read_published(tmp_path / "100000_nets_ema.ckpt", second)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_the_names_of_the_published_layout():
    """Names that appear in the authors' own messages about missing keys."""
    states = published_states(anonymizer(0), Discriminator(size=64, width=1 / 32))
    assert set(states) == {*NAMES, "discriminator"}
    for network, key in (
        ("generator", "from_rgb.weight"),
        ("generator", "encode.0.conv1x1.weight"),
        ("generator", "encode.0.norm1.weight"),
        ("generator", "decode.2.norm2.fc.bias"),
        ("generator", "decode.4.conv1x1.weight"),
        ("generator", "to_rgb.2.weight"),
        ("mapping_network", "shared.6.weight"),
        ("mapping_network", "unshared.1.6.bias"),
        ("style_encoder", "shared.1.conv2.weight"),
        ("style_encoder", "unshared.1.weight"),
        ("discriminator", "main.1.conv2.bias"),
    ):
        assert key in states[network]


def test_a_discriminator_is_read_from_the_file_of_networks(tmp_path):
    torch.manual_seed(1)
    first, second = (Discriminator(size=64, width=1 / 32) for _ in range(2))
    torch.save(published_states(anonymizer(0), first), tmp_path / "nets.ckpt")
    read_discriminator(tmp_path / "nets.ckpt", second)
    assert torch.equal(first.main[0].weight, second.main[0].weight)
    torch.save(published_states(anonymizer(0)), tmp_path / "ema.ckpt")
    with pytest.raises(WeightsError, match=r"holds generator, .* but no discriminator"):
        read_discriminator(tmp_path / "ema.ckpt", second)


def test_landmark_networks_are_read_from_all_published_files(tmp_path):
    first, second = fan(1), fan(2)
    state = fan_to_published(first.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    for key in ("state_dict", "fan", "fan_priv", None):
        second.head.weight.data.zero_()
        torch.save(state if key is None else {key: state}, tmp_path / "wing.ckpt")
        read_fan(tmp_path / "wing.ckpt", second)
        with torch.no_grad():
            assert torch.equal(first.read(picture).logits, second.read(picture).logits)


def test_every_tensor_of_the_landmark_network_has_a_published_name():
    own = {n for n in fan(0).state_dict() if not n.endswith("num_batches_tracked")}
    assert sorted(fan_names().values()) == sorted(own)
    for name in ("conv1.conv.weight", "m0.b2_plus_1.bn3.running_var", "conv2.downsample.2.weight"):
        assert name in fan_names()


def test_published_coordinates_are_rows_first():
    """A weight that reads the published row coordinate reads our row coordinate."""
    state = fan_to_published(fan(0).state_dict())
    state["conv1.conv.weight"] = torch.zeros_like(state["conv1.conv.weight"])
    state["conv1.conv.weight"][:, 3, 3, 3] = 1.0  # r, g, b, rows, columns, radius
    network = fan(0)
    network.load_state_dict(fan_from_published(state), strict=False)
    seen = []
    network.stem.register_forward_hook(lambda m, i, o: seen.append(o - m.bias[:, None, None]))
    with torch.no_grad():
        network.read(torch.rand(1, 3, 64, 64))
    columns_differ = (seen[0] - seen[0][..., :1]).abs().max()
    assert columns_differ < 1e-6
    assert (seen[0][..., -1, 0] - seen[0][..., 0, 0]).min() > 1.9 * 30 / 31


def test_the_published_landmark_network_is_frozen_but_lets_the_gradient_through():
    door = PublishedLandmarks(fan(0)).train()
    light = torch.rand(1, 3, 64, 64, requires_grad=True)
    assert not door.fan.training
    (gradient,) = torch.autograd.grad(door(light).logits.square().mean(), light)
    assert gradient.any()
    assert not any(p.requires_grad for p in door.parameters())


def test_a_file_of_another_width_is_refused_with_its_name(tmp_path):
    torch.save(published_states(anonymizer(1)), tmp_path / "a.ckpt")
    wide = Anonymizer(size=64, width=1 / 16, hidden=16, domains=2, high_pass=1.0, door="published")
    with pytest.raises(WeightsError, match=r"a\.ckpt do not fit Generator: it misfits"):
        read_published(tmp_path / "a.ckpt", wide)


def test_a_file_that_holds_no_networks_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(WeightsError, match=r"list\.ckpt hold a list, expected state dicts"):
        read_published(tmp_path / "list.ckpt", anonymizer(0))
    torch.save({"step": 3}, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match="hold no state dict"):
        read_fan(tmp_path / "other.ckpt", fan(0))
