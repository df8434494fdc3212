"""PRO-Face S: the transform, the flow and its inverse, key maps, and the published program."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.protection.flow import SecureFlow, published_names
from anonymizer.protection.key_maps import draw_key_maps, key_map, legacy_key_map, stack_key_maps
from anonymizer.protection.method import load_protection
from anonymizer.protection.obfuscators import named
from anonymizer.protection.secure_flow import ProFaceS
from anonymizer.protection.wavelets import haar, inverse_haar
from tests.anonymizer.protection.reference import faces, vectors
from tests.hashed_weights import fill_by_name

IMAGE = 2e-5  # of values in [-1, 1], as the vectors' own notes state
SIDES = st.integers(1, 12).map(lambda n: 2 * n)


def signed(pixels):
    return 2 * (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255) - 1


def hashed_flow(blocks=3, gain=0.5):
    flow = SecureFlow(blocks)
    fill_by_name(flow, gain, published_names(blocks))
    return flow.eval()


def random_flow(blocks=2, spread=0.05):
    """Return a flow far from the identity, in float64."""
    torch.manual_seed(0)
    flow = SecureFlow(blocks).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return flow


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def close(found, wanted, atol=IMAGE):
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=0, atol=atol)


# The transform


@settings(max_examples=25, deadline=None)
@given(height=SIDES, width=SIDES, channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_haar_keeps_energy_and_is_undone_exactly(height, width, channels, seed):
    shape = (2, channels, height, width)
    images = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    bands = haar(images)
    assert bands.shape == (2, 4 * channels, height // 2, width // 2)
    torch.testing.assert_close(bands.square().sum(), images.square().sum())
    torch.testing.assert_close(inverse_haar(bands), images)


def test_constant_image_has_twice_its_value_in_ll_and_nothing_elsewhere():
    images = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 6)
    bands = haar(images)
    torch.testing.assert_close(bands[:, :3], 2 * images[..., :2, :3])
    torch.testing.assert_close(bands[:, 3:], torch.zeros(1, 9, 2, 3))


def test_horizontal_step_is_in_hl_and_vertical_in_lh():
    step = torch.zeros(1, 1, 2, 2)
    step[..., 1] = 1.0
    torch.testing.assert_close(haar(step).flatten(), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(haar(step.mT).flatten(), torch.tensor([1.0, 0.0, 1.0, 0.0]))


# The flow


def test_flow_has_the_published_size_and_starts_as_the_identity():
    flow = SecureFlow(3)
    assert sum(p.numel() for p in flow.parameters()) == 1_073_040
    face, cover = faces(2, 16, 24), faces(2, 16, 24, seed=1)
    protected, residue = flow(face, cover, draw_key_maps(face, generator()))
    torch.testing.assert_close(protected, cover)
    torch.testing.assert_close(residue, haar(face))


@settings(max_examples=10, deadline=None)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 99))
def test_inverse_is_exact_with_the_residue(height, width, seed):
    """Double precision, weights far from the identity: only rounding is left."""
    flow = random_flow()
    shape = (1, 3, height, width)
    face, cover = (torch.rand(shape, generator=generator(seed + i)).double() for i in (0, 1))
    key_maps = draw_key_maps(face, generator(seed))
    with torch.no_grad():
        protected, residue = flow(face, cover, key_maps)
        found_face, found_cover = flow.invert(protected, key_maps, residue)
    assert (protected - cover).abs().max() > 1e-3
    torch.testing.assert_close(found_face, face, rtol=0, atol=1e-9)
    torch.testing.assert_close(found_cover, cover, rtol=0, atol=1e-9)


def test_every_block_depends_on_the_key_and_on_nothing_far_away():
    """Three blocks reach 25 coefficients at most, so 51 pixels; a key bit acts nearby."""
    flow, face = random_flow(1), faces(1, 64, 80).double()
    key_maps = draw_key_maps(face, generator())
    other = key_maps.clone()
    other[..., 20, 30] *= -1
    with torch.no_grad():
        change = (flow(face, face, key_maps)[0] - flow(face, face, other)[0]).abs().amax(dim=(0, 1))
    rows, columns = torch.nonzero(change > 0).T
    assert len(rows) > 0
    # one block: two sub-networks of five 3 x 3 convolutions one after the other, in pixels
    assert (rows - 20).abs().max() <= 22
    assert (columns - 30).abs().max() <= 22


def test_gradient_of_recovery_reaches_both_directions_and_the_picture():
    flow, face = random_flow(1), torch.rand(1, 3, 4, 4, generator=generator(2)).double()
    key_maps = draw_key_maps(face, generator())
    covers = torch.rand(face.shape, generator=generator(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda picture: flow.recover(picture, key_maps).square().mean(dim=(1, 2, 3)),
        covers.requires_grad_(),
        eps=1e-6,
        atol=1e-6,
    )
    flow.recover(flow(face, covers, key_maps)[0], key_maps).square().sum().backward()
    for parameter in flow.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad != 0).any()


def test_wrong_shapes_are_refused():
    flow, face = SecureFlow(1), faces(1, 8, 12)
    with pytest.raises(ValueError, match=r"faces is \(1, 3, 7, 12\), expected .* even sides"):
        flow(face[..., :7, :], face, torch.ones(1, 1, 8, 12))
    with pytest.raises(ValueError, match=r"covers is \(1, 3, 8, 10\), expected \(1, 3, 8, 12\)"):
        flow(face, face[..., :10], torch.ones(1, 1, 8, 12))
    with pytest.raises(ValueError, match=r"key_maps is \(1, 1, 8, 10\), expected \(1, 1, 8, 12\)"):
        flow(face, face, torch.ones(1, 1, 8, 10))


# Keys


def test_key_maps_are_signs_and_differ_in_half_their_places():
    maps = [key_map(bytes([n]) * 32, (40, 60)) for n in range(3)]
    assert all(m.shape == (1, 40, 60) for m in maps)
    assert all(set(m.unique().tolist()) == {-1.0, 1.0} for m in maps)
    for a, b in ((0, 1), (1, 2)):
        # 5 standard errors of a share of one half in 2,400
        assert float((maps[a] != maps[b]).double().mean()) == pytest.approx(0.5, abs=0.052)
    torch.testing.assert_close(key_map(bytes(32), (40, 60)), maps[0], rtol=0, atol=0)


def test_each_image_has_the_map_of_its_own_key():
    keys = [bytes([n]) * 32 for n in range(2)]
    maps = stack_key_maps(keys, faces(2, 8, 12).double())
    assert maps.dtype == torch.float64
    torch.testing.assert_close(maps[1].float(), key_map(keys[1], (8, 12)))


@settings(max_examples=25, deadline=None)
@given(password=st.text(st.characters(codec="latin-1"), max_size=20))
def test_legacy_maps_of_several_sizes_share_their_beginning(password):
    small, large = legacy_key_map(password, (4, 8)), legacy_key_map(password, (6, 12))
    torch.testing.assert_close(small.flatten(), large.flatten()[:32])


def test_legacy_map_of_a_number_is_that_of_its_byte_and_others_are_refused():
    torch.testing.assert_close(legacy_key_map(65, (8, 8)), legacy_key_map("A", (8, 8)))
    for wrong in (256, -1):
        with pytest.raises(ValueError, match="expected 0 to 255"):
            legacy_key_map(wrong, (8, 8))
    with pytest.raises(ValueError, match="Latin-1") as caught:
        legacy_key_map("pass\u2603word", (8, 8))
    assert "\u2603" not in str(caught.value)  # no password in a message


# The method


def method(decoy=False, blocks=2):
    torch.manual_seed(0)
    protection = ProFaceS(named("blur_15_2_4"), blocks=blocks, decoy=decoy)
    return protection.eval()


KEYS = [bytes([n]) * 32 for n in (1, 2)]


def test_protect_and_recover_use_one_key_for_each_image():
    protection, images = method(), faces(2, 24, 32)
    fill_by_name(protection.network, 0.3, published_names(2))
    with torch.no_grad():
        together, alone = protection.protect(images, KEYS), protection.protect(images[1:], KEYS[1:])
        torch.testing.assert_close(together[1:], alone)
        swapped = protection.protect(images, KEYS[::-1])
        assert (swapped - together).abs().amax(dim=(1, 2, 3)).min() > 1e-4
        recovered = protection.recover(together, KEYS)
        torch.testing.assert_close(recovered[1:], protection.recover(alone, KEYS[1:]))
    assert 0 <= together.min() <= together.max() <= 1


def test_recovery_is_that_of_the_flow_at_its_door():
    """Linear light outside, sRGB from -1 to 1 inside, the key's bands for the residue."""
    protection, images = method(), faces(1, 16, 24)
    fill_by_name(protection.network, 0.3, published_names(2))
    key_maps = stack_key_maps(KEYS[:1], images)
    with torch.no_grad():
        values, cover = 2 * encode_srgb(images) - 1, 2 * encode_srgb(protection.cover(images)) - 1
        wanted = (protection.network(values, cover, key_maps)[0] + 1) / 2
        found = protection.protect(images, KEYS[:1])
        torch.testing.assert_close(found, decode_srgb(wanted))
        residue = haar(key_maps).repeat(1, 3, 1, 1)
        inner = 2 * encode_srgb(found) - 1
        wanted = (protection.network.invert(inner, key_maps, residue)[0] + 1) / 2
        torch.testing.assert_close(protection.recover(found, KEYS[:1]), decode_srgb(wanted))


def test_recovery_is_what_is_left_of_it_within_black_and_white():
    protection, shown = method(), faces(2, 24, 32)
    fill_by_name(protection.network, 1.0)
    with torch.no_grad():
        values = protection.recover_unclipped(shown, KEYS[:2])
        recovered = protection.recover(shown, KEYS[:2])
    assert values.min() < 0
    torch.testing.assert_close(recovered, decode_srgb(values.clamp(0, 1)))


def test_untrained_protection_looks_like_its_cover_and_survives_a_png():
    protection, images = method(), faces(1, 24, 32)
    with torch.no_grad():
        protected = protection.protect(images, KEYS[:1])
    pixels = np.rint(255 * encode_srgb(protected)[0].permute(1, 2, 0).numpy()).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    again = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255
    cover = encode_srgb(protection.cover(images))
    torch.testing.assert_close(again, cover, rtol=0, atol=0.5 / 255 + 1e-6)


def test_rounding_to_a_file_costs_recovery_no_more_than_the_flow_amplifies():
    """With the true residue, 8 bits of noise in the picture: what is left of an exact inverse."""
    flow, face = hashed_flow(), faces(1, 32, 48)
    values, covers = 2 * face - 1, 2 * faces(1, 32, 48, seed=1) - 1
    key_maps = draw_key_maps(face, generator())
    with torch.no_grad():
        protected, residue = flow(values, covers, key_maps)
        stored = (127.5 * (protected + 1)).round() / 127.5 - 1
        found = flow.invert(stored, key_maps, residue)[0]
    noise = (stored - protected).square().mean().sqrt()
    error = (found - values).square().mean().sqrt()
    assert noise == pytest.approx(2 / 255 / 12**0.5, rel=0.05)  # uniform over one step
    assert error < 10 * noise


def test_keys_are_checked():
    protection, images = method(), faces(2, 8, 12)
    with pytest.raises(ValueError, match="keys: none for 2 images"):
        protection.protect(images)
    with pytest.raises(ValueError, match="keys: 1 for 2 images"):
        protection.recover(images, KEYS[:1])
    with pytest.raises(ValueError, match=r"keys of \[5\] bytes, expected 32"):
        protection.protect(images, [b"short"] * 2)


@pytest.mark.parametrize("numbered", [False, True])
def test_both_published_layouts_load(tmp_path, numbered):
    flow = random_flow(2).float()
    names = published_names(2, numbered=numbered)
    assert len(names) == 80  # 40 for each block: 120 and 240 in the published files
    first = "model.inv1.r.conv1.weight" if numbered else "model.inv_blocks.0.r.conv1.weight"
    assert names["blocks.0.rho.conv1.weight"] == first
    path = tmp_path / "flow.pth"
    torch.save({names[n]: t for n, t in flow.state_dict().items()}, path)
    loaded = load_protection(method(), file=path.name, sha256=hash_file(path), search=[tmp_path])
    for name, tensor in flow.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor)
    with pytest.raises(WeightsError, match="do not fit SecureFlow"):
        load_protection(method(blocks=3), file=path.name, sha256=hash_file(path), search=[tmp_path])


# The original program


def test_transform_and_key_map_equal_the_published_ones():
    stored = vectors("proface_s")
    close(haar(torch.from_numpy(stored["dwt_in"])), stored["dwt_out"], 1e-6)
    assert np.array_equal(legacy_key_map(0, (64, 64))[0].numpy(), stored["key_int0_64"])


def test_flow_equals_the_published_one():
    stored = vectors("proface_s")
    flow = hashed_flow()
    face, cover = signed(stored["x_u8_64"]), signed(stored["y_u8_64"])
    key_maps = legacy_key_map(0, (64, 64))[None]
    with torch.no_grad():
        block = flow.blocks[0](haar(cover), haar(face), haar(key_maps))
        close(torch.cat(block, dim=1), stored["block0_out"])
        protected, residue = flow(face, cover, key_maps)
        close(protected, stored["fwd_protected"])
        close(residue, stored["fwd_z"])
        recovered = flow.recover(torch.from_numpy(stored["fwd_protected"]), key_maps)
        close(recovered, stored["rev_keynoise_x"])
        back = flow.invert(protected, key_maps, residue)[0]
    assert (back - face).abs().max() < 1e-5
