"""A network of others that a term asks: optical flow, from a local file."""

import pytest
import torch

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.stargan.flow import (
    FlowNetwork,
    _correlate,
    _enlarge,
    _look_up,
    _positions,
    load_flow,
)


def test_flow_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = FlowNetwork()
    assert sum(p.numel() for p in network.parameters()) == 5_257_536


def test_flow_has_the_shape_of_the_pictures_and_a_gradient_at_the_second():
    torch.manual_seed(0)
    network = FlowNetwork(iterations=2).requires_grad_(False).eval()
    first, second = torch.rand(2, 1, 3, 64, 72)
    motion = network(first, second.requires_grad_(True))
    assert motion.shape == (1, 2, 64, 72)
    (gradient,) = torch.autograd.grad(motion.mean(), second)
    assert gradient.any()


def test_look_up_finds_a_shift_at_the_right_window_place():
    """Second features moved by (x, y) = (3, -2): the finest correlation peaks there."""
    torch.manual_seed(0)
    one = torch.nn.functional.normalize(torch.randn(1, 64, 16, 20), dim=1)
    other = one.roll((-2, 3), (2, 3))
    seen = _look_up(_correlate(one, other), _positions(one))[0, :81, 8, 9].reshape(9, 9)
    x, y = divmod(int(seen.argmax()), 9)
    assert (x - 4, y - 4) == (3, -2)
    # on the grid bilinear sampling is exact: the peak is the product over sqrt(channels)
    assert seen.max().item() == pytest.approx(1 / 8, abs=1e-5)


def test_constant_flow_stays_constant_when_enlarged_and_counts_in_picture_pixels():
    flow = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1).expand(1, 2, 6, 7)
    fine = _enlarge(flow, torch.randn(1, 576, 6, 7))
    assert fine.shape == (1, 2, 48, 56)
    inner = fine[:, :, 8:-8, 8:-8]  # neighbours beyond the border are zero
    torch.testing.assert_close(inner, torch.tensor([4.0, -8.0]).view(1, 2, 1, 1).expand_as(inner))


def test_a_published_flow_file_is_read(tmp_path):
    torch.manual_seed(0)
    network = FlowNetwork()
    state = {f"module.{n}": t for n, t in network.state_dict().items()}
    for name in [n for n in state if ".downsample.1." in n]:
        state[name.replace("downsample.1", "norm3")] = state[name]
    torch.save(state, tmp_path / "raft.pth")
    again = load_flow(file="raft.pth", sha256=hash_file(tmp_path / "raft.pth"), search=[tmp_path])
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    with pytest.raises(WeightsError, match=r"raft\.pth .* not found"):
        load_flow(file="raft.pth", sha256="0" * 64)


def test_pictures_of_odd_sides_are_refused():
    with pytest.raises(ValueError, match="multiples of 8 and 64 px at least"):
        FlowNetwork()(torch.rand(1, 3, 64, 60), torch.rand(1, 3, 64, 60))
