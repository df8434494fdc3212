"""The authors' weight files: which names hold what, read into our networks and written again.

StarGAN v2 and the face de-identification of 2024 keep one file per step with a state dict for each
network: "generator", "mapping_network", "style_encoder", "discriminator" and, beside the
high-pass skips, "fan". Moving averages are files of their own, "<step>_nets_ema.ckpt", without a
discriminator. Names may start with "module.", and may include the constant "hpf.filter". The
landmark network alone is "wing.ckpt", under "state_dict". The camera of the face de-identification
has its regressor in a file of its own, under "fan_priv" or as the state dict itself.

The averages in the published files were started from other numbers than the networks: copies were
made before the networks were initialised. After 10,000 steps at 0.999 nothing is left of that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from anonymizer.checkpoints import WeightsError, fill, read_nested_states
from anonymizer.colour import encode_srgb
from anonymizer.regressors import FanRegressor, Heatmaps
from anonymizer.stargan.anonymizer import Anonymizer
from anonymizer.stargan.discriminator import Discriminator

_CONSTANTS = ("hpf.filter",)
_NETWORKS = ("generator", "mapping_network", "style_encoder")
_BLOCKS = {"conv2": "blocks.0", "conv3": "blocks.1", "conv4": "blocks.2", "top_m_0": "top"}
_DEPTH = 4  # levels of the hourglass


def read_published(path: Path, anonymizer: Anonymizer) -> Anonymizer:
    """Fill `anonymizer` from a published file of moving averages, or of the networks themselves.

    Raises
    ------
    WeightsError
        A network is missing from the file or of another layout.
    """
    states = _plain(read_nested_states(path))
    for name in _NETWORKS:
        fill(getattr(anonymizer, name), _of(states, name, path), path)
    return anonymizer


def read_discriminator(path: Path, discriminator: Discriminator) -> Discriminator:
    """Fill `discriminator` from a published file of networks."""
    fill(discriminator, _of(_plain(read_nested_states(path)), "discriminator", path), path)
    return discriminator


def read_fan(path: Path, network: FanRegressor) -> FanRegressor:
    """Fill a batch-norm `network` of 98 landmarks from any published file that holds one."""
    states = _plain(read_nested_states(path))
    found = next((states[n] for n in ("fan_priv", "fan", "state_dict", "") if n in states), None)
    if found is None:
        raise WeightsError(f"{path} holds {', '.join(states)}, expected a landmark network")
    fill(network, fan_from_published(found), path)
    return network


class PublishedLandmarks(nn.Module):
    """The published landmark network on clear pictures: sRGB in [-1, 1] at 256 px.

    Parameters
    ----------
    fan : FanRegressor
        Batch-norm network of 98 landmarks, filled by `read_fan`; frozen here.
    """

    stride = FanRegressor.stride

    def __init__(self, fan: FanRegressor) -> None:
        super().__init__()
        self.fan = fan.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the statistics are the published ones."""
        return super().train(False)

    def forward(self, light: Tensor) -> Heatmaps:
        """Read clear pictures (B, 3, S, S) in linear light; differentiable in them."""
        return self.fan.read(2 * encode_srgb(light) - 1)


def published_states(
    anonymizer: Anonymizer, discriminator: Discriminator | None = None
) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts under the published names; without discriminator, as averages."""
    states = {name: dict(getattr(anonymizer, name).state_dict()) for name in _NETWORKS}
    if discriminator is not None:
        states["discriminator"] = dict(discriminator.state_dict())
    return states


def fan_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published landmark network's tensors, and put its coordinates in our order.

    Its coordinate channels are rows, columns, radius; ours columns, rows, radius.
    """
    table = fan_names()
    known = {name: tensor for name, tensor in state.items() if name in table}
    if unknown := [n for n in state if n not in table and not n.endswith("num_batches_tracked")]:
        raise WeightsError(f"the landmark network has unknown tensors: {', '.join(unknown[:4])}")
    return {table[name]: _swapped(table[name], tensor) for name, tensor in known.items()}


def fan_to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `fan_from_published`."""
    return {name: _swapped(own, state[own]) for name, own in fan_names().items()}


def fan_names() -> dict[str, str]:
    """Return our name of every tensor of the landmark network by the published one."""
    table: dict[str, str] = {}

    def layer(published: str, own: str, *parts: str) -> None:
        table.update({f"{published}.{part}": f"{own}.{part}" for part in parts})

    def norm(published: str, own: str) -> None:
        layer(published, own, "weight", "bias", "running_mean", "running_var")

    def block(published: str, own: str, *, widens: bool) -> None:
        for i in range(3):
            norm(f"{published}.bn{i + 1}", f"{own}.norms.{i}")
            layer(f"{published}.conv{i + 1}", f"{own}.convs.{i}", "weight")
        if widens:
            norm(f"{published}.downsample.0", f"{own}.shortcut.0")
            layer(f"{published}.downsample.2", f"{own}.shortcut.2", "weight")

    layer("conv1.conv", "stem", "weight", "bias")
    norm("bn1", "stem_norm")
    for published, own in _BLOCKS.items():
        block(published, own, widens=own in ("blocks.0", "blocks.2"))
    layer("m0.coordconv.conv", "mix", "weight", "bias")
    inside = "hourglass"
    for level in range(_DEPTH, 0, -1):
        for published, own in (("b1", "skip"), ("b2", "before"), ("b3", "after")):
            block(f"m0.{published}_{level}", f"{inside}.{own}", widens=False)
        inside += ".inner"
    block("m0.b2_plus_1", inside, widens=False)
    layer("conv_last0", "last", "weight", "bias")
    norm("bn_end0", "last_norm")
    layer("l0", "head", "weight", "bias")
    return table


def _swapped(own: str, tensor: Tensor) -> Tensor:
    """Exchange the channels of the first two coordinates where there are any."""
    if own not in ("stem.weight", "mix.weight"):
        return tensor
    order = list(range(tensor.shape[1]))
    order[-3], order[-2] = order[-2], order[-3]
    return tensor[:, torch.tensor(order)]


def _of(states: Mapping[str, dict[str, Tensor]], name: str, path: Path) -> dict[str, Tensor]:
    if name not in states:
        raise WeightsError(f"{path} holds {', '.join(states)}, but no {name}")
    return states[name]


def _plain(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Drop the prefix of parallel training and the constants."""
    return {
        network: {
            plain: tensor
            for name, tensor in state.items()
            if (plain := name.removeprefix("module.")) not in _CONSTANTS
        }
        for network, state in states.items()
    }
