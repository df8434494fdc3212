"""Swap networks: sizes and files as published, whose identity they take, and their door.

The published weights are not at hand, so what is tested of the arithmetic is its layout.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.colour import encode_srgb
from anonymizer.protection.obfuscators import FaceSwap
from anonymizer.protection.swapping import FaceShifter, SimSwap, load_simswap
from anonymizer.protection.swapping.aei_net import AeiNet
from anonymizer.protection.swapping.identities import ArcFaceResNet, IrSe50, units_in
from anonymizer.protection.swapping.simswap import SimSwapGenerator
from anonymizer.recognition import Recognizer
from tests.anonymizer.protection.reference import faces


def count(make):
    with torch.device("meta"):
        network = make()
    return sum(p.numel() for p in network.parameters()), set(network.state_dict())


class Colours(Recognizer):
    """Stands in for a recogniser: the mean colour, repeated to 512 numbers."""

    dimension = 512

    def embed(self, faces):
        return faces.mean(dim=(2, 3)).repeat(1, 171)[:, :512]


class Echo(nn.Module):
    """Stands in for a generator: remembers what it was given, and returns the faces."""

    def forward(self, faces, identity):
        self.faces, self.identity = faces, identity
        return faces


def test_networks_have_the_published_sizes_and_names():
    size, names = count(AeiNet)
    assert size == 184_343_381
    assert {
        "encoder.conv7.1.running_mean",
        "encoder.deconv6.deconv.weight",
        "generator.up1.bias",
        "generator.AADBlk4.AAD3.conv_h.bias",
        "generator.AADBlk8.conv3.weight",
    } <= names
    assert not any(name.startswith("generator.AADBlk3.conv3") for name in names)
    size, names = count(SimSwapGenerator)
    assert size == 55_051_779
    assert {
        "first_layer.1.weight",
        "down3.1.running_var",
        "BottleNeck.8.conv2.1.bias",
        "BottleNeck.0.style1.linear.weight",
        "up1.2.weight",
        "last_layer.1.bias",
    } <= names
    size, names = count(IrSe50)
    assert size == 43_797_696
    assert {"body.0.res_layer.5.fc1.weight", "body.3.shortcut_layer.0.weight"} <= names


def test_number_of_units_is_read_off_the_file():
    names = count(lambda: ArcFaceResNet((3, 4, 6, 3)))[1]
    assert units_in(dict.fromkeys(names)) == (3, 4, 6, 3)


@pytest.mark.parametrize("kind", [FaceShifter, SimSwap])
def test_door_resizes_and_brings_values_to_the_range_of_the_network(kind):
    network, images, sources = Echo(), faces(2, 48, 64), faces(2, 32, 32, seed=1)
    swapped = kind(network, Colours())(images, sources)
    side, black = {FaceShifter: (256, -1.0), SimSwap: (224, 0.0)}[kind]
    assert network.faces.shape == (2, 3, side, side)
    assert (network.faces.min() < 0) == (black < 0)
    mean = black + (1 - black) * encode_srgb(images).mean()
    torch.testing.assert_close(network.faces.mean(), mean, rtol=0.01, atol=0.01)
    wanted = F.normalize(Colours().embed(encode_srgb(sources)), dim=1)
    torch.testing.assert_close(network.identity, wanted, rtol=0.02, atol=2e-3)
    assert swapped.shape == images.shape
    if kind is FaceShifter:  # -1 to 1 comes back as 0 to 1, also through two interpolations
        torch.testing.assert_close(swapped, images, rtol=0, atol=0.05)


def test_identity_of_every_face_is_the_strangers():
    network = Echo()
    swap = FaceSwap(SimSwap(network, Colours()), faces(3, 32, 32, seed=5))
    swap.apply_strength(faces(2, 48, 64), 1)
    wanted = F.normalize(Colours().embed(encode_srgb(faces(3, 32, 32, seed=5)[1:2])), dim=1)
    torch.testing.assert_close(network.identity, wanted.expand(2, -1), rtol=0.02, atol=2e-3)


@pytest.mark.slow
def test_simswap_refuses_a_file_of_another_network(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "latest_net_G.pth")
    sha256 = hash_file(tmp_path / "latest_net_G.pth")
    with pytest.raises(WeightsError, match="do not fit SimSwapGenerator"):
        load_simswap(
            generator="latest_net_G.pth",
            generator_sha256=sha256,
            identities="arcface_checkpoint.tar",
            identities_sha256=sha256,
            search=[tmp_path],
        )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "network", "identities"), [
    (FaceShifter, AeiNet, IrSe50),
    (SimSwap, SimSwapGenerator, lambda: ArcFaceResNet((1, 1, 1, 1))),
])  # fmt: skip
def test_networks_run_and_listen_to_face_and_stranger(kind, network, identities):
    torch.manual_seed(0)
    swapper = kind(network(), identities()).eval()
    images, sources = faces(1, 112, 112), faces(2, 112, 112, seed=1)
    with torch.no_grad():
        swapped = [swapper(images, sources[i : i + 1]) for i in (0, 1)]
        other = swapper(faces(1, 112, 112, seed=2), sources[:1])
    assert swapped[0].shape == images.shape
    assert (swapped[0] - swapped[1]).abs().max() > 1e-5
    assert (swapped[0] - other).abs().max() > 1e-5
