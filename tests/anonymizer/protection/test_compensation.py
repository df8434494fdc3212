"""PRO-Face C: the published client and server to the bit, messages, and that training helps."""

import numpy as np
import pytest
import torch

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.protection.compensated import CompensatedRecognizer, Compensation, as_sent
from anonymizer.protection.compensation import INJECTIONS, TAPS, CompensationClient
from anonymizer.protection.compensation_training import CompensationTraining
from anonymizer.protection.method import load_protection
from anonymizer.protection.obfuscators import GaussianBlur, HybridTiles, MedianBlur, Pixelate
from anonymizer.protection.training import FaceBatch
from anonymizer.recognition import AdaFace, CompactRecognizer
from anonymizer.recognition.heads import ArcFaceHead
from tests.anonymizer.protection.reference import faces, vectors
from tests.hashed_weights import fill_by_name, hashed_uniform

KEY = bytes(range(32))


def published_client():
    client = CompensationClient().eval()
    fill_by_name(client, 0.7)
    with torch.no_grad():
        for i, weight in enumerate(client.weights, start=1):  # the vectors' own exception
            drawn = 0.5 + hashed_uniform(f"weight{i}", tuple(weight.shape))
            weight.copy_(torch.from_numpy(drawn))
    return client


def residual(stored):
    """Return original minus obfuscated face, sRGB in [-1, 1]."""
    face = torch.from_numpy(stored["face_u8_112"]).permute(2, 0, 1)[None] / 255 * 2 - 1
    return face - torch.from_numpy(stored["hybrid_p16"])


def small():
    """Return a protection for the small server, which stays untrained here."""
    torch.manual_seed(0)
    server = CompactRecognizer()
    tiles = HybridTiles([MedianBlur(5, spread=2), GaussianBlur(), Pixelate(7)])
    return Compensation(tiles, injections=server.stage_shapes).eval(), server.eval()


@torch.no_grad()
def test_client_is_the_published_one():
    stored = vectors("proface_c")
    permutations = torch.from_numpy(stored["perm_first4"].astype(np.int64))
    maps = published_client()(residual(stored), permutations)
    for name, found, every in (("aux1", maps[0], 4), ("aux2", maps[1], 2)):
        expected = torch.from_numpy(stored[name])
        torch.testing.assert_close(found[..., ::every, ::every], expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_clients_own_features_are_the_published_ones():
    stored = vectors("proface_c")
    found = published_client().client_backbone.embed(residual(stored))
    expected = torch.from_numpy(stored["client_embed"])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.norm()))


def test_client_has_the_published_count_of_numbers():
    client = CompensationClient()
    permutations = 784 * 64
    assert sum(p.numel() for p in client.parameters()) + permutations == 1_943_872
    assert len(client.state_dict()) + 1 == 347


def test_maps_have_the_published_shapes():
    client = CompensationClient().eval()
    with torch.no_grad():
        taps = client.taps(torch.zeros(2, 3, 112, 112))
        maps = client.enter(taps)
    assert [tuple(x.shape[1:3]) for x in taps] == list(TAPS)
    assert [tuple(x.shape[1:3]) for x in maps] == list(INJECTIONS)
    assert 4 * sum(x[0].numel() for x in maps) == 1_505_280  # bytes that the published client sends


def test_published_file_is_read(tmp_path):
    method = Compensation(GaussianBlur())
    source = published_client().state_dict()
    file = tmp_path / "Backbone.pth"
    torch.save({**source, "channel_permutations": torch.zeros(784, 64, dtype=torch.int64)}, file)
    load_protection(method, file=file.name, sha256=hash_file(file), search=[tmp_path])
    for name, value in method.client.state_dict().items():
        assert torch.equal(value, source[name]), name


def test_published_file_without_a_tensor_is_refused(tmp_path):
    source = published_client().state_dict()
    del source["interface_3.1.weight"]
    file = tmp_path / "Backbone.pth"
    torch.save(source, file)
    with pytest.raises(WeightsError, match=r"lacks client\.interface_3\.1\.weight"):
        load_protection(
            Compensation(GaussianBlur()),
            file=file.name,
            sha256=hash_file(file),
            search=[tmp_path],
        )


@torch.no_grad()
def test_features_of_zero_change_nothing():
    method, server = small()
    images = faces(2, 112, 112)
    maps = [torch.zeros(2, c, n, n) for c, n in server.stage_shapes]
    found = CompensatedRecognizer(server, method.client).features(images, maps)
    torch.testing.assert_close(found, server.embed(encode_srgb(images)))


@torch.no_grad()
def test_maps_enter_after_each_stage_as_the_formula_says():
    """A hook on the last layer of each stage sees x, the next layer x + sigmoid(x) A W."""
    method, server = small()
    with torch.no_grad():
        for weight in method.client.weights:
            weight.normal_()
    images = faces(1, 112, 112)
    maps = [torch.randn(1, c, n, n) for c, n in server.stage_shapes]
    before, after = {}, {}
    for i, end in enumerate(server.stage_ends):
        server.body[end - 1].register_forward_hook(
            lambda module, given, out, i=i: before.__setitem__(i, out)
        )
        follows = server.body[end] if end < len(server.body) else server.squeeze
        follows.register_forward_pre_hook(lambda module, given, i=i: after.__setitem__(i, given[0]))
    CompensatedRecognizer(server, method.client).features(images, maps)
    for i, (a, w) in enumerate(zip(maps, method.client.weights, strict=True)):
        expected = before[i] + a * w / (1 + torch.exp(-before[i]))
        torch.testing.assert_close(after[i], expected)


def test_a_client_for_another_server_is_refused():
    _, server = small()
    with pytest.raises(ValueError, match="give the client these as injections"):
        CompensatedRecognizer(server, CompensationClient())


def trained_codec(method, images):
    """Let the codec observe faces, and prune."""
    with torch.no_grad():
        taps = method.taps(images, method.protect(images))
    method.codec.observe(taps, method.client.gains())
    method.codec.prune(0.5)


@torch.no_grad()
def test_server_gets_the_face_to_the_bit_and_the_features_rounded():
    method, _ = small()
    images = faces(2, 112, 112)
    trained_codec(method, images)
    hidden = method.protect(images)
    for row, message in enumerate(method.encode(images, KEY, ["a", "b"])):
        seen, taps = method.decode(message, KEY, "ab"[row])
        assert torch.equal(seen, hidden[row : row + 1])
        expected = method.codec(method.taps(images[row : row + 1], seen))
        for found, wanted in zip(taps, expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_a_pruned_message_is_within_64_kb():
    method, _ = small()
    images = faces(2, 112, 112)
    trained_codec(method, images)
    messages = method.encode(images, KEY, ["a", "b"])
    assert {len(message) for message in messages} == {method.message_size}
    assert method.message_size <= 64 * 1024


def test_two_messages_of_one_face_share_nothing_but_the_picture():
    method, _ = small()
    images = faces(1, 112, 112).repeat(2, 1, 1, 1)
    trained_codec(method, images)
    one, two = (np.frombuffer(m, np.uint8) for m in method.encode(images, KEY, ["a", "b"]))
    pixels = 3 * 112 * 112
    assert (one[:pixels] == two[:pixels]).all()
    assert (one[pixels:] == two[pixels:]).mean() < 0.5


@pytest.mark.parametrize("change", [-1, 1])
def test_messages_of_another_length_are_refused(change):
    method, _ = small()
    with pytest.raises(ValueError, match=f"expected {method.message_size}"):
        method.decode(bytes(method.message_size + change), KEY, "a")


def test_training_brings_hidden_faces_near_to_clear_ones():
    """A few steps on two faces, the last ones rounded and pruned."""
    method, server = small()
    method.train()
    training = CompensationTraining(method, server, prune_after=5).train()
    batch = FaceBatch(faces(2, 112, 112)[:, None], torch.zeros(2, 1, dtype=torch.int64))
    learns = training.players()["protection"]
    before = [p.clone() for p in server.parameters()]
    optimizer = torch.optim.Adam(learns.parameters(), lr=1e-3)
    values = []
    for _ in range(8):
        loss = sum(training.losses(batch, torch.Generator().manual_seed(1)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
    assert method.codec.get_buffer("keep_0").sum() == 32
    assert all(torch.equal(a, b) for a, b in zip(before, server.parameters(), strict=True))


def test_every_weight_that_the_server_needs_learns():
    method, server = small()
    training = CompensationTraining(method.train(), server).train()
    batch = FaceBatch(faces(2, 112, 112)[:, None], torch.zeros(2, 1, dtype=torch.int64))
    sum(training.losses(batch, torch.Generator().manual_seed(1)).values()).backward()
    still = {n for n, p in method.client.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {n for n in still if n.startswith("client_backbone.output_layer")}


@torch.no_grad()
def test_likeness_is_twice_what_the_cosine_lacks():
    method, server = small()
    training = CompensationTraining(method, server, likeness=3.0).eval()
    images = faces(2, 112, 112)
    batch = FaceBatch(images[:, None], torch.zeros(2, 1, dtype=torch.int64))
    found = training.losses(batch, torch.Generator().manual_seed(1))["likeness"]
    hidden = as_sent(method.obfuscator.sample(images, torch.Generator().manual_seed(1)))
    recognizer = CompensatedRecognizer(server, method.client)
    vectors_found = recognizer(hidden, method.taps(images, hidden))
    cosine = torch.nn.functional.cosine_similarity(vectors_found, server(images)).mean()
    torch.testing.assert_close(found, 3 * (2 - 2 * cosine))


def test_the_frozen_server_drops_nothing_while_the_client_trains():
    """AdaFace has a dropout, which would make its answers random."""
    method, server = small()
    training = CompensationTraining(method, server).train()
    assert method.client.training
    assert not any(module.training for module in server.modules())
    names = list(training.state_dict())
    assert len({id(value) for value in training.state_dict(keep_vars=True).values()}) == len(names)


def test_a_head_learns_beside_the_client():
    method, server = small()
    head = ArcFaceHead(3, server.dimension, scale=16.0)
    training = CompensationTraining(method.train(), server, head=head).train()
    batch = FaceBatch(faces(2, 112, 112)[:, None], torch.tensor([[0], [2]]))
    terms = training.losses(batch, torch.Generator().manual_seed(1))
    terms["identity"].backward()
    assert head.weight.grad.any()
    assert any(p is head.weight for p in training.players()["protection"].parameters())


@pytest.mark.slow
@torch.no_grad()
def test_server_without_features_is_the_published_one():
    """AdaFace, fed R G B as PRO-Face C feeds it, on the obfuscated face alone."""
    stored = vectors("proface_c")
    server = AdaFace(depth=101, channels="RGB").eval()
    fill_by_name(server, 0.5)
    none = [torch.zeros(1, channels, side, side) for channels, side in INJECTIONS]
    hidden = decode_srgb((torch.from_numpy(stored["hybrid_p16"]) + 1) / 2)
    found = CompensatedRecognizer(server, published_client()).features(hidden, none)
    norm = torch.from_numpy(stored["server_plain_norm"])
    torch.testing.assert_close(found.norm(dim=1, keepdim=True), norm, rtol=2e-5, atol=0)
    expected = torch.from_numpy(stored["server_plain"])
    torch.testing.assert_close(found / norm, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("depth", "units"), [(50, (2, 6, 20, 23)), (101, (2, 15, 45, 48))])
def test_maps_enter_after_the_published_units(depth, units):
    server = AdaFace(depth=depth)
    assert tuple(end - 1 for end in server.stage_ends) == units
    assert server.stage_shapes == INJECTIONS
