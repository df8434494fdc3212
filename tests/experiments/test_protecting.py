"""Guards and openers: methods that recover by themselves, clips, decoys, and foreign models."""

import errno

import numpy as np
import pytest
import torch

from anonymizer.vault import (
    ForeignModel,
    Keyholder,
    Secret,
    VaultError,
    VaultWriter,
    WrongKey,
    records,
)
from experiments.data.pictures import PictureLimits
from experiments.faces_in_pictures import Square
from experiments.picture_sources import ClipReader, ClipWriter, read_picture
from experiments.protecting import Guard
from experiments.recovering import Opener
from experiments.store import ArtifactError
from experiments.vault_files import Workshop
from hardware.storage import ResourceError
from tests.experiments.protecting_doubles import Fixed, Scramble, holder, method, picture

LIMITS = PictureLimits()


@pytest.fixture
def guard(tmp_path):
    """A function that makes guards, all with one workshop."""
    with Workshop(tmp_path / "keys") as workshop:

        def make(finder, who, mode="flow", **changes):
            fields = {
                "method": method(), "finder": finder, "workshop": workshop, "holders": [who],
                "mode": mode, "salt": bytes(16),
            }  # fmt: skip
            return Guard(**(fields | changes))

        yield make


def square(left, top, side):
    """Return a square whose pixels are those of the picture, if the method's side is `side`."""
    shift = [left - 0.5, top - 0.5]
    return Square(torch.tensor([[side, 0, shift[0]], [0, side, shift[1]]], dtype=torch.float64))


A, B = square(10, 12, 24), square(40, 20, 24)


def opener(one, who, how=None):
    return Opener(who, one.workshop.producer.verifier, how or method(), LIMITS)


def write_clip(path, frames):
    with path.open("wb") as file:
        clip = ClipWriter(file, frames[0].shape[:2])
        for number, pixels in enumerate(frames):
            clip.add(number / 25, pixels)
        clip.close()


def read_clip(path):
    with ClipReader(path, LIMITS) as clip:
        return [pixels for _, pixels in clip]


@pytest.mark.parametrize("mode", ["flow", "decoy"])
def test_methods_recover_faces_where_they_were(tmp_path, guard, mode):
    who, pixels = holder(), picture()
    one = guard(Fixed([A, B]), who, mode)
    faces, size = one.picture(pixels, "Anna.jpg", tmp_path / "p")
    assert faces == 2
    assert size == sum((tmp_path / f"p.{end}").stat().st_size for end in ("png", "veil"))
    back = opener(one, who).recover(tmp_path / "p.veil", tmp_path / "back")
    assert back.name == ("p_Anna.png" if mode == "flow" else "p.png")
    found = read_picture(back, LIMITS)
    shown = read_picture(tmp_path / "p.png", LIMITS)
    for left, top in ((10, 12), (40, 20)):
        inner = (slice(top + 3, top + 21), slice(left + 3, left + 21))
        # the double is exact in 8 bits, and inside the rim pixels fall on pixels
        np.testing.assert_array_equal(found[inner], pixels[inner])
        assert np.abs(shown[inner].astype(int) - pixels[inner]).mean() > 50
    # in the rim linear light is rounded once more; dark values are steep in sRGB
    assert np.abs(found.astype(int) - pixels).mean() < 0.6


def test_a_wrong_key_is_refused_in_flow_and_lies_in_decoy(tmp_path, guard):
    who, pixels = holder(), picture()
    one = guard(Fixed([A]), who, "flow")
    one.picture(pixels, "a", tmp_path / "flow")
    one.mode = "decoy"
    one.picture(pixels, "a", tmp_path / "decoy")
    wrong = opener(one, holder())
    with pytest.raises(WrongKey, match="none of the 1 locks"):
        wrong.recover(tmp_path / "flow.veil", tmp_path / "back")
    back = read_picture(wrong.recover(tmp_path / "decoy.veil", tmp_path / "back"), LIMITS)
    inner = (slice(15, 33), slice(13, 31))
    assert np.abs(back[inner].astype(int) - pixels[inner]).mean() > 50
    assert not (tmp_path / "back/flow.png").exists()


def test_every_face_and_picture_has_a_key_of_its_own(tmp_path, guard):
    """The same face twice in a picture, and the same picture twice, look different."""
    pixels = picture()
    pixels[20:44, 40:64] = pixels[12:36, 10:34]
    one = guard(Fixed([A, B]), holder(), "flow")
    for name in ("first", "second"):
        one.picture(pixels, "a", tmp_path / name)
    faces = []
    for name in ("first", "second"):
        with (tmp_path / f"{name}.veil").open("rb") as file:
            faces += [tile.face() for record in records(file) for tile in record.tiles]
    for i in range(4):
        for j in range(i):
            assert (faces[i] != faces[j]).mean() > 0.9


@pytest.mark.parametrize("mode", ["aead", "flow"])
def test_clips_come_back_frame_by_frame(tmp_path, guard, mode):
    who, frames = holder(), [picture(seed) for seed in range(4)]
    write_clip(tmp_path / "party.mkv", frames)
    one = guard(Fixed([A], [A, B], [], [B]), who, mode, hold=0)
    steps = []
    faces, _ = one.clip(
        tmp_path / "party.mkv", tmp_path / "p", LIMITS, step=lambda: steps.append(1)
    )
    assert (faces, len(steps)) == (4, 4)
    shown = read_clip(tmp_path / "p.mkv")
    assert np.abs(shown[0][15:33, 13:31].astype(int) - frames[0][15:33, 13:31]).mean() > 50
    np.testing.assert_array_equal(shown[2], frames[2])
    back = opener(one, who).recover(tmp_path / "p.veil", tmp_path / "back")
    assert back.name == "p_party.mkv"
    for found, original in zip(read_clip(back), frames, strict=True):
        if mode == "aead":
            np.testing.assert_array_equal(found, original)
        else:
            assert np.abs(found.astype(int) - original).mean() < 0.6


def test_a_face_that_the_detector_loses_stays_hidden_for_a_while(tmp_path, guard):
    frames = [picture(0)] * 5
    write_clip(tmp_path / "a.mkv", frames)
    one = guard(Fixed([A], [], [], [], []), holder(), "aead", hold=2)
    one.clip(tmp_path / "a.mkv", tmp_path / "p", LIMITS)
    hidden = [bool((shown != frames[0]).any()) for shown in read_clip(tmp_path / "p.mkv")]
    assert hidden == [True, True, True, False, False]


def test_a_face_that_moves_is_hidden_once_in_each_frame(tmp_path, guard):
    write_clip(tmp_path / "a.mkv", [picture(0)] * 3)
    moves = [[square(10 + 2 * i, 12, 24)] for i in range(3)]
    one = guard(Fixed(*moves), holder(), "aead")
    faces, _ = one.clip(tmp_path / "a.mkv", tmp_path / "p", LIMITS)
    assert faces == 3


def test_an_interrupted_clip_leaves_nothing(tmp_path, guard):
    write_clip(tmp_path / "a.mkv", [picture(0)] * 3)

    def stop():
        raise KeyboardInterrupt

    one = guard(Fixed([A]), holder(), "aead")
    with pytest.raises(KeyboardInterrupt):
        one.clip(tmp_path / "a.mkv", tmp_path / "out/p", LIMITS, step=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_clip_whose_vault_cannot_be_finished_leaves_nothing(tmp_path, guard, monkeypatch):
    write_clip(tmp_path / "a.mkv", [picture(0)] * 2)
    monkeypatch.setattr(VaultWriter, "close", full_disk)
    one = guard(Fixed([A]), holder(), "aead")
    with pytest.raises(ResourceError, match="No space left"):
        one.clip(tmp_path / "a.mkv", tmp_path / "out/p", LIMITS)
    assert list((tmp_path / "out").iterdir()) == []


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (method(model=b"x" * 32), "weights 6d6d.*these are 7878"),
        (None, "name the method"),
    ],
)
def test_a_foreign_model_recovers_nothing(tmp_path, guard, how, expected):
    who = holder()
    one = guard(Fixed([A]), who, "flow")
    one.picture(picture(), "a", tmp_path / "p")
    with pytest.raises(ForeignModel, match=expected):
        Opener(who, one.workshop.producer.verifier, how, LIMITS).recover(
            tmp_path / "p.veil", tmp_path / "back"
        )
    assert not (tmp_path / "back").exists()


def test_a_picture_of_another_size_is_not_recovered(tmp_path, guard):
    """Signed by its producer with the wrong size, as a faulty program would."""
    who = holder()
    one = guard(Fixed([A]), who, "aead")
    head = type(one)._head
    one._head = lambda shape, nonce, kind: head(one, (64, 81), nonce, kind)
    one.picture(picture(), "a", tmp_path / "p")
    with pytest.raises(ForeignModel, match=r"80 x 64 px, the vault belongs to one of 81 x 64"):
        opener(one, who).recover(tmp_path / "p.veil", tmp_path / "back")


def test_any_alteration_of_a_vault_stops_the_opener(tmp_path, guard):
    who = holder()
    one = guard(Fixed([A]), who, "aead")
    one.picture(picture(), "a", tmp_path / "p")
    content = (tmp_path / "p.veil").read_bytes()
    for place in range(0, len(content), 131):
        changed = bytes([content[place] ^ 1])
        (tmp_path / "p.veil").write_bytes(content[:place] + changed + content[place + 1 :])
        with pytest.raises(VaultError):
            opener(one, who).recover(tmp_path / "p.veil", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_names_from_vaults_cannot_leave_the_folder(tmp_path, guard):
    who = holder()
    one = guard(Fixed([A]), who, "aead")
    one.picture(picture(), "../../etc/pass wd\0.png", tmp_path / "p")
    back = opener(one, who).recover(tmp_path / "p.veil", tmp_path / "back")
    assert back == tmp_path / "back" / "p_pass_wd.png"


def test_a_workshop_serves_one_process_at_a_time(tmp_path):
    with Workshop(tmp_path / "keys") as first:
        name = first.producer.verifier.name
        with pytest.raises(ArtifactError, match="is in use"):
            Workshop(tmp_path / "keys")
    with Workshop(tmp_path / "keys") as again:
        assert again.producer.verifier.name == name


def test_the_journal_of_nonces_outlives_the_process_and_a_torn_write(tmp_path):
    with Workshop(tmp_path / "keys") as first:
        given = first.nonces.picture()
    with (tmp_path / "keys/nonces").open("ab") as file:
        file.write(b"torn")
    with Workshop(tmp_path / "keys") as again:
        again.nonces._draw = lambda count: given[:count]
        with pytest.raises(VaultError, match="repeated a nonce"):
            again.nonces.clip()


def test_passwords_open_too(tmp_path, guard):
    who = Keyholder(Secret.from_password("lusab-badag-gutih-tugad-zomuz"))
    one = guard(Fixed([A]), who, "aead")
    one.picture(picture(), "a", tmp_path / "p")
    again = Keyholder(Secret.from_password("lusab-badag-gutih-tugad-zomuz\n"))
    found = read_picture(opener(one, again).recover(tmp_path / "p.veil", tmp_path / "b"), LIMITS)
    np.testing.assert_array_equal(found, picture())


def test_the_double_is_its_own_inverse():
    faces = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    keys = [bytes(32), b"k" * 32]
    one = method(Scramble())
    again = one.recover(one.protect(faces, keys), keys)
    assert (again - faces).abs().max() < 0.02
