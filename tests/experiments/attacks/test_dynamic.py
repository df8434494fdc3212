"""Cameras with another mask for every shot: what one shot hides and many shots show."""

from functools import partial

import pytest
import torch

from experiments.attacks import MirrorFamily, OffTheShelf, PerShotCamera, Wiener
from experiments.attacks.dynamic import draw_masks
from experiments.scene import generator_for
from experiments.stages import StaticCamera
from optics import DeformableMirror, Sensor, ThinLens
from optics.masks import ZernikeModes
from tests.experiments.attacks.planted import people, trial
from tests.experiments.attacks.test_attacks import defended, gaussian
from tests.experiments.tiny_codesign import REFERENCE, tiny_camera


def per_shot(family):
    one = defended(family.mean(0))
    return PerShotCamera(
        fixed=StaticCamera(one.fixed.camera, {REFERENCE: family.mean(0)}),
        scene_power=one.scene_power,
        protocol=one.protocol,
        families={REFERENCE: family},
    )


def lines(length=13, size=21):
    """Return smears along the columns and along the rows: each keeps what the other loses."""
    along = torch.zeros(2, 3, size, size)
    first = (size - length) // 2
    along[0, :, size // 2, first : first + length] = 1 / length
    along[1, :, first : first + length, size // 2] = 1 / length
    return along


def sources(count, key=0):
    return [generator_for(key, i) for i in range(count)]


@pytest.mark.parametrize(("masks", "frames"), [(5, 1), (5, 3), (5, 5), (5, 13)])
def test_shots_are_shared_by_as_many_different_masks_as_there_are(masks, frames):
    order, share = draw_masks(sources(40), masks, frames)
    assert order.shape == (40, min(masks, frames))
    assert all(len(set(row)) == len(row) for row in order.tolist())
    assert int(share.sum()) == frames
    assert float(share.max() - share.min()) <= 1
    assert len({tuple(row) for row in order.tolist()}) > 1
    assert set(order[:, 0].tolist()) == set(range(masks))


def test_many_shots_are_a_picture_through_the_mean_mask():
    camera = per_shot(lines())
    mean = camera.mean_psfs(sources(6), 8)
    torch.testing.assert_close(mean, camera.psf().expand_as(mean))
    one = camera.mean_psfs(sources(6), 1)
    assert all(any(torch.equal(psf, member) for member in lines()) for psf in one)


def test_a_family_of_one_mask_is_that_mask(tmp_path):
    psf = gaussian(2.0)
    attack = Wiener((1.0,), frames=(1, 4))
    where = trial(defended(psf), tmp_path, test=people(40, 4))
    exact = attack.run(where, "attack").conditions
    same = attack.run(
        trial(per_shot(psf.expand(3, -1, -1, -1)), tmp_path, test=people(40, 4)), "attack"
    ).conditions
    for frames in (1, 4):
        wanted = exact[f"exact_frames_{frames}"]["psnr"]
        for knowledge in ("unknown_masks", "known_masks"):
            # the same light and noise of the same strength, drawn otherwise
            assert same[f"{knowledge}_frames_{frames}"]["psnr"] == pytest.approx(wanted, abs=0.3)


def test_who_knows_the_masks_of_different_shots_gets_what_each_of_them_kept(tmp_path):
    where = trial(per_shot(lines()), tmp_path, test=people(40, 4))
    attack = Wiener((1.0,), frames=(1, 2), exposures=(1e4, 2e4))
    found = attack.run(where, "attack").conditions
    one = found["known_masks_frames_1_20ke"]["psnr"]
    two = found["known_masks_frames_2_10ke"]["psnr"]  # the same light in all
    assert two > one + 0.5
    assert one > found["unknown_masks_frames_1_20ke"]["psnr"] + 1


def test_less_light_gives_less(tmp_path):
    attack = Wiener((1.0,), frames=(1,), exposures=(None, 300.0))
    found = attack.run(trial(defended(gaussian(2.0)), tmp_path), "attack").conditions
    own, dim = found["exact_frames_1"], found["exact_frames_1_0.3ke"]
    assert own["psnr"] > dim["psnr"] + 1
    assert (dim["exposure_e"], dim["frames"]) == (300, 1)
    assert attack.budget()["exposures_e"] == [None, 300.0]
    with pytest.raises(ValueError, match=r"exposures = \[-1\.0\]"):
        Wiener((1.0,), exposures=(-1.0,))


def test_shots_through_different_masks_are_shown_as_their_mean(tmp_path):
    camera = per_shot(lines())
    where = trial(camera, tmp_path)
    rows = where.held.batches(6)[0]
    clear = where.faces(where.held, rows, 1).scenes.light
    one, again, many = (
        camera.show(where.faces(where.held, rows, 1), frames=n) for n in (1, 1, 400)
    )
    assert torch.equal(one, again)
    still = defended(camera.psf()).show(where.faces(where.held, rows, 1), frames=400)
    assert (many - still).abs().mean() < 0.1 * (many - clear).abs().mean()
    assert (one - still).abs().mean() > 0.3 * (one - clear).abs().mean()
    found = OffTheShelf(frames=(1, 100)).run(where, "attack").conditions
    assert found.keys() == {"frames_1", "frames_100"}


def mirrors(**changes):
    mirror = partial(DeformableMirror, influence=ZernikeModes(2, 6), max_stroke=3.5e-6)
    return MirrorFamily(**({"mirror": mirror, "masks": 3} | changes))


def test_random_mirrors_differ_and_are_the_same_in_every_run():
    camera = tiny_camera()
    for before in ("nothing", "learned"):
        one = mirrors(before=before).psfs(camera, [REFERENCE], 3)
        assert one.shape == (3, 1, 3, 21, 21)
        assert torch.equal(one, mirrors(before=before).psfs(camera, [REFERENCE], 3))
        assert (one[0] - one[1]).abs().sum() > 0.3 * one[0].sum()
        assert (one.sum((-2, -1)) <= 1 + 1e-3).all()
    other = mirrors(seed=1).psfs(camera, [REFERENCE], 3)
    assert not torch.equal(other, mirrors().psfs(camera, [REFERENCE], 3))


def test_a_mirror_at_rest_before_the_learned_mask_leaves_it_as_it_is():
    camera = tiny_camera(lens=ThinLens(focal_length=16e-3), sensor=Sensor(binning=32))
    still = mirrors(before="learned", reach=1e-6).psfs(camera, [REFERENCE], 3)
    with torch.no_grad():
        torch.testing.assert_close(still[0], camera.psf([REFERENCE], nodes=3), atol=1e-5, rtol=1e-3)


def test_families_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"masks = 1, reach = 1: at least 2"):
        mirrors(masks=1)
    with pytest.raises(ValueError, match=r"reach = 1\.5"):
        mirrors(reach=1.5)
