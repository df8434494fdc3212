"""PRO-Face: the published network to the bit, its door, and that training makes it better."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.perceptual import StructuralDistance
from anonymizer.protection.embedder import ProFaceEmbedder
from anonymizer.protection.method import load_protection
from anonymizer.protection.obfuscators import LegacySampling, named
from anonymizer.protection.proface import ProFace, ProFaceTraining
from anonymizer.protection.training import FaceBatch, unit_embeddings
from anonymizer.recognition import Recognizer
from tests.anonymizer.protection.reference import faces, light, vectors
from tests.shared_data import shared

PUBLISHED = [
    f"{name}_BEST.pth"
    for name in (
        "blur_31_2_8_IResNet50_ep13",
        "blur_31_2_8_InceptionResNet_ep12",
        "blur_31_2_8_MobileFaceNet_ep8",
        "pixelate_7_InceptionResNet_ep11",
        "pixelate_7_MobileFaceNet_ep10",
        "pixelate_7_SEResNet50_ep8",
    )
]
IMAGE = 2e-5  # of values in [-1, 1], as the vectors' own notes state


def published(file):
    """Return PRO-Face with published weights, obfuscating as it was trained to."""
    path = shared(f"data/proface/{file}")
    method = ProFace(named("_".join(file.split("_")[:-3]), LegacySampling()))
    return load_protection(method, file=path.name, sha256=hash_file(path), search=[path.parent])


def signed(pixels):
    return 2 * (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255) - 1


def psnr(a, b):
    return float(-10 * (a - b).square().mean().log10())


def test_network_has_the_published_size():
    network = ProFaceEmbedder()
    assert sum(p.numel() for p in network.parameters()) == 217_062
    assert sum(b.numel() for b in network.buffers()) == 7_112
    assert len(network.state_dict()) == 556


def test_branches_are_alike_and_swap_with_their_weights():
    torch.manual_seed(0)
    network, swapped = ProFaceEmbedder().eval(), ProFaceEmbedder().eval()
    other = {"oImgNet": "tImgNet", "tImgNet": "oImgNet"}
    state = network.state_dict()
    swapped.load_state_dict({other[n[:7]] + n[7:]: t for n, t in state.items()})
    a, b = faces(2, 16, 24), faces(2, 16, 24, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(network(a, b), swapped(b, a))


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_weights_hide_the_original_behind_its_obfuscation(file):
    """All six load; measured on drawings and photographs: 26 to 39 dB."""
    method = published(file)
    face = light(vectors("proface_embedder")["face_u8_112"])
    with torch.no_grad():
        protected, cover = encode_srgb(method.protect(face)), encode_srgb(method.cover(face))
    assert psnr(protected, cover) > 25
    assert psnr(protected, encode_srgb(face)) < 26


def test_network_equals_the_published_one():
    stored = vectors("proface_embedder")
    method = published("blur_31_2_8_MobileFaceNet_ep8_BEST.pth")
    face, blurred = signed(stored["face_u8_112"]), torch.from_numpy(stored["obf_blur_s5"])
    branches = method.network.oImgNet, method.network.tImgNet
    with torch.no_grad():
        found = method.network(face, blurred)
        encoded = [b.encode(v) for b, v in zip(branches, (face, blurred), strict=True)]
        bottom = encoded[0][0] + encoded[1][0]
        coarsest = branches[0].decode(0, bottom, encoded[0][1][-1])
        middle = coarsest[0] + branches[1].decode(0, bottom, encoded[1][1][-1])[0]
        finer = branches[1].decode(1, middle, encoded[1][1][-2])
    for value, name, step in (
        (found, "out_blur_MobileFaceNet", 1),
        (bottom, "mid_bottom_sum", 1),
        (coarsest[1], "mid_scale0_orig_out_every4", 4),
        (finer[1], "mid_scale1_targ_out_every4", 4),
    ):
        wanted = torch.from_numpy(stored[name])
        torch.testing.assert_close(value[..., ::step, ::step], wanted, rtol=0, atol=IMAGE)


def test_pooled_outputs_equal_the_published_ones():
    stored = vectors("proface_embedder")
    face = light(stored["face_u8_112"])
    for name, wanted in zip(stored["pool8_names"], stored["pool8"], strict=True):
        method = published(str(name))
        with torch.no_grad():
            found = F.avg_pool2d(2 * method.embed(face, method.cover(face)) - 1, 8)[0]
        torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=0, atol=IMAGE)


def test_protected_faces_are_clipped_light_and_the_obfuscation_is_the_cover():
    torch.manual_seed(0)
    method, images = ProFace(named("pixelate_7")).eval(), faces(2, 48, 64)
    with torch.no_grad():
        protected = method.protect(images)
    assert protected.shape == images.shape
    assert 0 <= protected.min() <= protected.max() <= 1
    torch.testing.assert_close(method.cover(images), named("pixelate_7")(images))


def test_door_brings_black_to_the_range_of_the_weights():
    """Values that the network sees, whichever black it was trained with."""
    images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 16, 16)
    seen = []
    for black in (-1.0, 0.0):
        method = ProFace(named("pixelate_7"), black=black)
        method.network.register_forward_pre_hook(lambda _, values: seen.append(values))
        method.eval().embed(images, images.flip(0))
    for (original, obfuscated), black in zip(seen, (-1.0, 0.0), strict=True):
        ends = torch.tensor([black, 1.0])
        torch.testing.assert_close(original[:, 0, 0, 0], ends)
        torch.testing.assert_close(obfuscated[:, 0, 0, 0], ends.flip(0))


def test_keys_sides_and_recovery_are_refused():
    method = ProFace(named("pixelate_7"))
    with pytest.raises(ValueError, match="ProFace takes no keys"):
        method.protect(faces(), [bytes(32)] * 2)
    with pytest.raises(ValueError, match="multiples of 8 px"):
        method.protect(torch.zeros(1, 3, 20, 24))
    with pytest.raises(TypeError, match="keeps nothing from which an original"):
        method.recover(faces(), [bytes(32)] * 2)


def test_weights_of_another_layout_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, weight=np.zeros(3, np.float32))
    with pytest.raises(WeightsError, match="do not fit ProFaceEmbedder"):
        load_protection(
            ProFace(named("pixelate_7")), file="w.npz", sha256=hash_file(path), search=[tmp_path]
        )


# Training


class Glance(Recognizer):
    """A recogniser of one layer, quick to descend through."""

    dimension = 32

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2, 28, stride=28)

    def embed(self, faces):
        return self.layer(faces).flatten(1)


def training(**weights):
    torch.manual_seed(0)
    method = ProFace(named("blur_15_2_4"), dropout=0.0)
    return ProFaceTraining(method, Glance(), StructuralDistance(), **weights)


def batch(n=2, seed=0):
    shown = faces(3 * n, 24, 32, seed=seed).reshape(n, 3, 3, 24, 32)
    return FaceBatch(shown, torch.tensor([[0, 0, 1]] * n))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_losses_are_the_stated_sum():
    """Against the terms written out, with strengths drawn in the stated order."""
    trainable, shown = training(), batch()
    g = generator(5)
    originals = shown.faces.unbind(dim=1)
    covers = [trainable.protection.obfuscator.sample(x, g) for x in originals]
    embed = trainable.protection.train().embed
    protected = [embed(x, y).clamp(0, 1) for x, y in zip(originals, covers, strict=True)]
    terms = trainable.losses(shown, generator(5))
    near = (embed(originals[0], covers[0]) - encode_srgb(covers[0])).abs().mean()
    torch.testing.assert_close(terms["pixels"], 2 * near)

    def f(encoded):
        return unit_embeddings(trainable.recognizer, decode_srgb(encoded))

    a, p, n = (f(q) for q in protected)
    gap = ((a - p).norm(dim=1) - (a - n).norm(dim=1) + 1).clamp(min=0).mean()
    torch.testing.assert_close(terms["protected"], 0.5 * gap, rtol=1e-3, atol=1e-5)
    x = unit_embeddings(trainable.recognizer, originals[0])
    gap = ((a - x).norm(dim=1) - (a - n).norm(dim=1) + 1).clamp(min=0).mean()
    torch.testing.assert_close(terms["original"], 0.1 * gap, rtol=1e-3, atol=1e-5)


def test_gradient_of_each_term_reaches_both_branches_and_nothing_frozen():
    trainable = training()
    network = trainable.protection.network
    firsts = [network.oImgNet.initial.conv0.weight, network.tImgNet.initial.conv0.weight]
    for name, term in trainable.losses(batch(), generator()).items():
        for gradient in torch.autograd.grad(term, firsts, retain_graph=True):
            assert torch.isfinite(gradient).all(), name
            assert gradient.abs().sum() > 0, name
    assert not any(p.requires_grad for p in trainable.recognizer.parameters())


def test_only_the_embedder_learns_and_a_step_of_descent_lessens_the_sum():
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


def test_draws_triplets_of_people():
    rows = training().draw(torch.tensor([0, 0, 1, 1, 2]), 6, generator())
    assert rows.shape == (6, 3)
