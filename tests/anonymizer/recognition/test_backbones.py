"""Published networks against their originals, and files of their layouts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.recognition import (
    AdaFace,
    InceptionResNet,
    IResNet50,
    IResNet100,
    MobileFaceNetProFace,
    SphereFace,
    flip_fused,
    load_recognizer,
)
from tests.hashed_weights import fill_by_name, hashed_uniform
from tests.shared_data import shared

TOLERANCE = 2e-5  # of the largest component: float32 sums in another order

PARAMETERS = {  # as counted in the original programs
    MobileFaceNetProFace: 1_003_136,
    InceptionResNet: 27_910_327,
    IResNet50: 43_590_848,
    (IResNet50, "se"): 43_813_568,
    IResNet100: 65_156_160,
    (AdaFace, 50): 43_585_600,
    (AdaFace, 101): 65_150_912,
    SphereFace: 28_084_544,
}

LAYOUT = {  # first, telling and last names of the published files, with shapes
    MobileFaceNetProFace: {
        "conv3.conv.weight": (64, 3, 3, 3),
        "dw_conv3.prelu.weight": (64,),
        "bottlenecks.14.conv.7.running_var": (128,),
        "conv1.bn.weight": (512,),
        "linear_GDConv7.conv.weight": (512, 1, 7, 7),
        "linear_conv1.bn.bias": (128,),
    },
    InceptionResNet: {
        "conv2d_1a.conv.weight": (32, 3, 3, 3),
        "repeat_1.4.branch2.2.bn.running_mean": (32,),
        "mixed_6a.branch1.2.conv.weight": (256, 192, 3, 3),
        "repeat_2.9.branch1.1.conv.weight": (128, 128, 1, 7),
        "mixed_7a.branch2.0.conv.weight": (256, 896, 1, 1),
        "block8.conv2d.bias": (1792,),
        "last_linear.weight": (512, 1792),
        "logits.weight": (8631, 512),
    },
    (IResNet50, "se"): {
        "input_layer.2.weight": (64,),
        "layer1.0.shortcut_layer.0.weight": (64, 64, 1, 1),
        "layer3.13.res_layer.6.fc1.weight": (16, 256, 1, 1),
        "output_layer.3.weight": (512, 25088),
        "output_layer.4.running_mean": (512,),
    },
    IResNet100: {
        "conv1.weight": (64, 3, 3, 3),
        "layer1.0.downsample.0.weight": (64, 64, 1, 1),
        "layer3.29.bn3.weight": (256,),
        "fc.bias": (512,),
        "features.weight": (512,),
    },
    (AdaFace, 101): {
        "body.0.res_layer.1.weight": (64, 64, 3, 3),
        "body.3.shortcut_layer.1.weight": (128,),
        "body.48.res_layer.5.bias": (512,),
        "output_layer.4.running_var": (512,),
    },
    SphereFace: {
        "conv1_1.weight": (64, 3, 3, 3),
        "relu3_9.weight": (256,),
        "conv4_3.bias": (512,),
        "fc5.weight": (512, 21504),
        "fc6.weight": (512, 10574),
    },
}
ABSENT = {IResNet50: "layer1.1.shortcut_layer", (AdaFace, 101): "body.0.shortcut_layer"}


def build(which):
    if not isinstance(which, tuple):
        return which()
    kind, option = which
    return kind(depth=option) if kind is AdaFace else kind(variant=option)


def unfilled(which):
    with torch.device("meta"):
        return build(which)


def small_faces(n=1):
    return torch.rand(n, 3, 112, 112, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", PARAMETERS)
def test_number_of_parameters_is_that_of_the_original(which):
    assert sum(p.numel() for p in unfilled(which).parameters()) == PARAMETERS[which]


@pytest.mark.parametrize("which", LAYOUT)
def test_names_and_shapes_are_those_of_the_published_file(which):
    state = unfilled(which).state_dict()
    assert {k: tuple(state[k].shape) for k in LAYOUT[which]} == LAYOUT[which]


@pytest.mark.parametrize("which", ABSENT)
def test_units_that_pass_their_input_on_have_no_weights_for_it(which):
    assert not [name for name in unfilled(which).state_dict() if name.startswith(ABSENT[which])]


def agree(found, expected):
    np.testing.assert_allclose(
        found.detach().numpy(), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max()
    )


REFERENCE = {
    "MobileFaceNet": (MobileFaceNetProFace, 1.0),
    "IResNet50": (IResNet50, 0.6),
    "InceptionResNet": (InceptionResNet, 1.0),
}


@pytest.mark.parametrize(
    "name",
    ["MobileFaceNet", "InceptionResNet", pytest.param("IResNet50", marks=pytest.mark.slow)],
)
def test_embedding_is_that_of_the_original_program(name):
    with np.load(shared("reference/recognisers_eval.npz"), allow_pickle=False) as file:
        pictures, expected = file["x_u8"], file[f"emb_{name}"]
    kind, gain = REFERENCE[name]
    network = kind().eval()
    fill_by_name(network, gain)
    with torch.no_grad():
        found = network.embed(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    agree(F.normalize(found, dim=1) if kind is InceptionResNet else found, expected)


def test_sphereface_features_are_those_of_the_original_program():
    with np.load(shared("reference/fit.npz"), allow_pickle=False) as file:
        expected = file["sphere_feat"]
    network = SphereFace().eval()
    fill_by_name(network, 0.7)
    x = torch.from_numpy(2 * hashed_uniform("sphere_in", (2, 3, 112, 96)) - 1).float()
    with torch.no_grad():
        agree(network.native(x), expected)


@pytest.mark.slow  # 65 million weights to draw
def test_adaface_is_the_server_of_proface_c():
    with np.load(shared("reference/proface_c.npz"), allow_pickle=False) as file:
        picture, unit, length = (
            file[k] for k in ("hybrid_p16", "server_plain", "server_plain_norm")
        )
    network = AdaFace(depth=101, channels="RGB").eval()
    fill_by_name(network, 0.5)
    with torch.no_grad():
        found = network.embed((torch.from_numpy(picture) + 1) / 2)
    agree(F.normalize(found, dim=1), unit)
    agree(found.norm(dim=1, keepdim=True), length)


def test_sphereface_sees_the_middle_columns_in_reverse_order_of_planes():
    torch.manual_seed(0)
    network, faces = SphereFace(people=2).eval(), small_faces()
    own = (255 * faces.flip(1)[..., 8:104] - 127.5) / 128
    with torch.no_grad():
        torch.testing.assert_close(network.embed(faces), network.native(own))


def test_order_of_planes_is_what_the_network_was_told():
    torch.manual_seed(0)
    rgb, bgr = MobileFaceNetProFace().eval(), MobileFaceNetProFace(channels="BGR").eval()
    bgr.load_state_dict(rgb.state_dict())
    faces = small_faces()
    with torch.no_grad():
        torch.testing.assert_close(bgr.embed(faces), rgb.embed(faces.flip(1)))
        assert not torch.allclose(bgr.embed(faces), rgb.embed(faces))


def test_wrong_order_of_planes_is_refused():
    with pytest.raises(ValueError, match=r"channels = 'GBR'.*RGB"):
        MobileFaceNetProFace(channels="GBR").embed(small_faces())


@pytest.mark.parametrize(
    "which", [InceptionResNet, pytest.param((IResNet50, "se"), marks=pytest.mark.slow)]
)
def test_gradient_reaches_the_face(which):
    torch.manual_seed(0)
    network, faces = build(which).eval(), small_faces().requires_grad_()
    network(faces)[0, :16].square().sum().backward()
    assert torch.isfinite(faces.grad).all()
    assert (faces.grad.abs().sum(dim=1) > 0).float().mean() > 0.9


def test_tensors_under_a_prefix_are_taken_and_the_others_left(tmp_path):
    torch.manual_seed(0)
    network, path = MobileFaceNetProFace().eval(), tmp_path / "adaface.ckpt"
    state = {f"model.{k}": v for k, v in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": {**state, "head.kernel": torch.ones(2, 2)}}, path)
    files = {"file": path.name, "sha256": hash_file(path), "search": [tmp_path]}
    again = load_recognizer(MobileFaceNetProFace(), prefix="model.", **files)
    with torch.no_grad():
        torch.testing.assert_close(again(small_faces()), network(small_faces()))
    with pytest.raises(WeightsError, match="do not fit MobileFaceNetProFace"):
        load_recognizer(MobileFaceNetProFace(), **files)


def test_file_without_counters_fills_the_network(tmp_path):
    """SphereFace's file has no counters, InceptionResNet's has them."""
    torch.manual_seed(0)
    network, path = SphereFace(people=3).eval(), tmp_path / "sphere20a.pth"
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    torch.save(state, path)
    again = load_recognizer(
        SphereFace(people=3), file=path.name, sha256=hash_file(path), search=[tmp_path]
    )
    assert torch.equal(again.fc6.weight, network.fc6.weight)


def test_batch_statistics_of_features_stay_frozen_while_training():
    torch.manual_seed(0)
    network = MobileFaceNetProFace().train()
    deep = torch.nn.BatchNorm1d(4)
    network.add_module("extra", deep)
    assert not network.train().extra.training
    assert network.training


def test_flip_fusion_does_not_tell_a_face_from_its_mirror_image():
    torch.manual_seed(0)
    network, faces = MobileFaceNetProFace().eval(), small_faces(2)
    with torch.no_grad():
        fused = flip_fused(network, faces)
        torch.testing.assert_close(fused, flip_fused(network, faces.flip(-1)))
        torch.testing.assert_close(fused.norm(dim=1), torch.ones(2))
        both = network.unnormalised(faces) + network.unnormalised(faces.flip(-1))
        torch.testing.assert_close(fused, F.normalize(both, dim=1))
        assert not torch.allclose(network(faces), network(faces.flip(-1)), atol=1e-4)
