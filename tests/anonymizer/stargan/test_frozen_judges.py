"""Networks of others that terms ask: optical flow and perceptual distance, from local files."""

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
from anonymizer.stargan.perceptual import PerceptualDistance, load_perceptual


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


def test_distance_of_a_picture_to_itself_is_zero_and_grows():
    torch.manual_seed(0)
    network = PerceptualDistance().requires_grad_(False)
    picture, noise = torch.rand(2, 3, 64, 70), torch.randn(2, 3, 64, 70)
    assert network(picture, picture).tolist() == [0, 0]
    near, far = (network(picture, (picture + s * noise).clamp(0, 1)) for s in (0.02, 0.2))
    assert (far > near).all()
    assert (near > 0).all()


def test_distance_has_a_gradient():
    torch.manual_seed(0)
    network = PerceptualDistance().requires_grad_(False)
    picture = torch.rand(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(torch.rand(1, 3, 64, 64), picture).sum(), picture)
    assert gradient.any()


def test_published_perceptual_files_are_read(tmp_path):
    torch.manual_seed(0)
    network = PerceptualDistance()
    features = dict(network.features.state_dict(prefix="features."))
    torch.save(features | {"classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "alexnet.pth")
    lines = {
        f"lin{i}.model.1.weight": torch.rand(1, len(w), 1, 1) for i, w in enumerate(network.weights)
    }
    torch.save(lines, tmp_path / "lines.pth")
    again = load_perceptual(
        features="alexnet.pth",
        features_sha256=hash_file(tmp_path / "alexnet.pth"),
        weights="lines.pth",
        weights_sha256=hash_file(tmp_path / "lines.pth"),
        search=[tmp_path],
    )
    assert torch.equal(again.features[3].weight, network.features[3].weight)
    for i, weight in enumerate(again.weights):
        assert torch.equal(weight, lines[f"lin{i}.model.1.weight"].flatten())
