"""The file of a vault: opens for its recipients, tells every alteration, refuses every nonsense."""

import contextlib
import io
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.vault import (
    DamagedVault,
    ForeignModel,
    Keyholder,
    Nonces,
    Producer,
    Record,
    Secret,
    UnknownVersion,
    VaultError,
    VaultWriter,
    Verifier,
    WrongKey,
    admit,
    change_recipients,
    face_key,
    frame_nonce,
    key_file,
    open_content,
    open_originals,
    payload,
    read_header,
    records,
    seal_originals,
    verify,
)
from anonymizer.vault.header import MAGIC, parse_header
from anonymizer.vault.sealing import PADDING, TAG_BYTES, pad, unpad
from tests.anonymizer.vault.making import (
    PASSWORD,
    PAYLOAD,
    altered,
    head,
    holder,
    picture,
    producer,
    tile,
    vault,
)

KEY = Keyholder(Secret.from_key_file(key_file(256).encode()))
OTHER_KEY = Keyholder(Secret.from_key_file(key_file(128).encode()))


def opened(data, who):
    """Verify a vault, and return the originals and names of its records."""
    stream = io.BytesIO(data)
    header = verify(stream, producer().verifier)
    content = open_content(header, who)
    return [open_originals(header, content, record) for record in records(stream)]


@pytest.mark.parametrize("frames", [1, 3])
def test_originals_come_back_exactly_with_their_names(frames):
    data, _ = vault(frames=frames)
    for frame, (originals, name) in enumerate(opened(data, holder())):
        np.testing.assert_array_equal(originals[0], picture(frame, (20, 30)))
        assert name == f"Zoe {frame}.jpg"
    assert payload(io.BytesIO(data)) == PAYLOAD


def test_wrong_password_opens_nothing():
    data, _ = vault()
    with pytest.raises(WrongKey, match="opens none of the 1 locks"):
        opened(data, Keyholder(Secret.from_password(PASSWORD + "x")))


def test_every_recipient_opens_and_others_do_not():
    data, _ = vault(holders=[KEY, holder()])
    for who in (KEY, holder()):
        np.testing.assert_array_equal(opened(data, who)[0][0][0], picture(0, (20, 30)))
    with pytest.raises(WrongKey):
        opened(data, OTHER_KEY)


def test_changed_password_leaves_everything_encrypted_as_it_was():
    data, content = vault(holders=[KEY], frames=2)
    header = read_header(io.BytesIO(data))
    again, kept = admit(header, [OTHER_KEY], content_key=open_content(header, KEY))
    out = io.BytesIO()
    change_recipients(io.BytesIO(data), out, again, producer())
    new = out.getvalue()
    old_boxes = [record.box for record in records(io.BytesIO(data))]
    assert [record.box for record in records(io.BytesIO(new))] == old_boxes
    assert kept == content
    np.testing.assert_array_equal(opened(new, OTHER_KEY)[1][0][0], picture(1, (20, 30)))
    with pytest.raises(WrongKey):
        opened(new, KEY)


def test_locks_of_one_vault_do_not_fit_another():
    """A wrapped key is bound to the head it stands in."""
    first, second = (read_header(io.BytesIO(vault(holders=[KEY])[0])) for _ in range(2))
    with pytest.raises(WrongKey):
        open_content(second.with_recipients(first.recipients), KEY)


def test_boxes_are_bound_to_picture_frame_and_place():
    header, content = admit(head(kind="clip"), [KEY])
    originals = [picture(0, (20, 30))]
    record = seal_originals(header, content, Record(0, (tile(),)), originals)
    elsewhere = [
        (header, replace(record, frame=1)),
        (header, replace(record, tiles=(replace(tile(), left=9),))),
        (replace(header, image_id=bytes(16)), record),
        (replace(header, model=b"m" * 32), record),
    ]
    assert open_originals(header, content, record)[0]
    for where, what in elsewhere:
        with pytest.raises(WrongKey):
            open_originals(where, content, what)


def test_a_decoy_tells_nobody_whether_the_password_is_right():
    data, _ = vault("decoy", face=picture(3, (16, 16)))
    header = read_header(io.BytesIO(data))
    wrong = Keyholder(Secret.from_password("another password"))
    keys = {open_content(header, who) for who in (holder(), wrong)}
    assert len(keys) == 2
    (record,) = records(io.BytesIO(data))
    assert record.box == b""
    assert header.recipients[0].wrapped == bytes(48)
    np.testing.assert_array_equal(record.tiles[0].face(), picture(3, (16, 16)))


def test_a_decoy_has_one_recipient_for_good():
    with pytest.raises(ValueError, match="exactly one"):
        admit(head("decoy"), [KEY, holder()])
    with pytest.raises(ValueError, match="exactly one"):
        admit(head("decoy"), [KEY], content_key=bytes(32))


def test_face_keys_differ_in_everything_they_depend_on():
    header, nonce = head(), bytes(24)
    base = face_key(header, bytes(32), nonce, 0, (64, 48))
    others = [
        face_key(header, b"c" * 32, nonce, 0, (64, 48)),
        face_key(header, bytes(32), frame_nonce(nonce, 1), 0, (64, 48)),
        face_key(header, bytes(32), nonce, 1, (64, 48)),
        face_key(header, bytes(32), nonce, 0, (48, 64)),
        face_key(replace(header, image_id=bytes(16)), bytes(32), nonce, 0, (64, 48)),
        face_key(replace(header, model=b"m" * 32), bytes(32), nonce, 0, (64, 48)),
    ]
    assert len({base, *others}) == 7
    assert base == face_key(header, bytes(32), nonce, 0, (64, 48))


def test_methods_that_keep_no_faces_say_so():
    with pytest.raises(ForeignModel, match="keeps no protected faces"):
        tile().face()


# Nonces


def test_a_broken_random_source_stops_the_writer():
    nonces = Nonces(draw=bytes)
    nonces.picture()
    with pytest.raises(VaultError, match="repeated a nonce"):
        nonces.picture()
    with pytest.raises(VaultError, match="repeated a nonce"):
        nonces.clip()


def test_the_journal_is_written_before_a_nonce_is_used():
    stored = []
    first = Nonces(remember=stored.append)
    given = first.picture()
    assert stored == [given[:16]]
    with pytest.raises(VaultError, match="repeated a nonce"):
        Nonces(stored, draw=lambda count: given[:count]).clip()


def test_frames_of_a_clip_count_on_in_the_last_eight_bytes():
    clip = Nonces().clip()
    assert frame_nonce(clip, 0) == clip
    assert frame_nonce(clip, 258) == clip[:16] + bytes(6) + b"\1\2"


def test_headers_from_the_writer_never_repeat_a_nonce():
    """100,000 of them, as they stand in the file."""
    nonces = Nonces()
    base = admit(head(), [KEY])[0]
    seen = set()
    for _ in range(100_000):
        data = replace(base, nonce=nonces.picture()).encode()
        seen.add(data[33:57])
    assert len(seen) == 100_000


# Integrity


def test_ten_thousand_altered_bytes_are_all_told_without_the_password():
    data, _ = vault(holders=[KEY], face=picture(5, (8, 8)))
    source = random.Random(0)
    verifier = producer().verifier
    places = [*range(len(data)), *(source.randrange(len(data)) for _ in range(10_000))][:10_000]
    for place in places:
        with pytest.raises(VaultError):
            verify(io.BytesIO(altered(data, place, source)), verifier)
    assert verify(io.BytesIO(data), verifier).method == "blur"


def test_every_cut_and_every_addition_is_told():
    data, _ = vault(holders=[KEY])
    for length in [*range(0, 600), *range(600, len(data), 97), len(data) - 1]:
        with pytest.raises(VaultError):
            verify(io.BytesIO(data[:length]), producer().verifier)
    with pytest.raises(DamagedVault):
        verify(io.BytesIO(data + b"\0"), producer().verifier)


def test_a_vault_signed_anew_by_somebody_else_is_told():
    data, _ = vault(holders=[KEY])
    header = read_header(io.BytesIO(data))
    thief = Producer.new()
    out = io.BytesIO()
    change = replace(header, producer=thief.verifier.name)
    writer = VaultWriter(out, change, thief)
    writer.close(PAYLOAD)
    with pytest.raises(DamagedVault, match="made by producer"):
        verify(io.BytesIO(out.getvalue()), producer().verifier)
    # the same under the right name, hence with a signature that cannot be right
    body = data[:-64] + thief.sign(data[-96:-64])
    with pytest.raises(DamagedVault, match="not signed by the owner"):
        verify(io.BytesIO(body), producer().verifier)


def test_another_version_is_named_and_never_guessed():
    data, _ = vault(holders=[KEY])
    later = MAGIC + b"\0\2" + data[10:]
    with pytest.raises(UnknownVersion, match="version 2, this program reads 1"):
        verify(io.BytesIO(later), producer().verifier)


def test_keys_of_the_producer_survive_their_files():
    again = Producer.from_pem(producer().pem())
    assert again.verifier.name == producer().verifier.name
    assert Verifier.from_pem(producer().verifier.pem()).name == producer().verifier.name
    for wrong in (b"", b"-----BEGIN PUBLIC KEY-----\n", producer().verifier.pem()):
        with pytest.raises(ValueError, match="producer's key is not"):
            Producer.from_pem(wrong)
    with pytest.raises(ValueError, match="public key is not"):
        Verifier.from_pem(producer().pem())


# Nonsense


def test_a_record_cannot_be_announced_longer_than_the_file():
    data, _ = vault(holders=[KEY])
    place = len(read_header(io.BytesIO(data)).encode())
    forged = data[:place] + b"\x7f\xff\xff\xff" + data[place + 4 :]
    with pytest.raises(DamagedVault, match="is announced"):
        list(records(io.BytesIO(forged)))


def test_frames_are_written_in_turn():
    header, _ = admit(head(), [KEY])
    writer = VaultWriter(io.BytesIO(), header, producer())
    with pytest.raises(ValueError, match="expected 0"):
        writer.add(Record(1, ()))
    writer.add(Record(0, ()))
    with pytest.raises(ValueError, match="in a picture"):
        writer.add(Record(1, ()))


def test_faces_outside_the_picture_are_refused():
    header, _ = admit(head(), [KEY])
    stream = io.BytesIO()
    writer = VaultWriter(stream, header, producer())
    writer.add(Record(0, (replace(tile(), left=27),)))
    writer.close(PAYLOAD)
    with pytest.raises(DamagedVault, match="does not lie in a picture"):
        verify(io.BytesIO(stream.getvalue()), producer().verifier)


def test_pixels_are_never_unpacked_beyond_their_number():
    """A face of 8 x 8 px whose packed bytes hold a hundred million."""
    bomb = replace(
        tile(picture(0, (8, 8))), packed=tile(np.zeros((5000, 5000, 3), np.uint8)).packed
    )
    with pytest.raises(DamagedVault, match="193 bytes of pixels are stored, 192 expected"):
        bomb.face()


@given(st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_never_more_than_a_vault_error(data):
    for start in (b"", MAGIC + b"\0\1\0\0\1\x2c"):
        try:
            list(records(io.BytesIO(start + data)))
        except VaultError:
            continue
        raise AssertionError("random bytes were read as a vault")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_vaults_are_read_or_refused_by_the_parser_alone(data):
    """Without looking at hash and signature, as a careless reader would."""
    content = bytearray(FUZZED)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    stream = io.BytesIO(bytes(content[: cut if data.draw(st.booleans()) else None]))
    with contextlib.suppress(VaultError):
        for record in records(stream):
            for one in record.tiles:
                assert one.side == 0 or one.face().shape == (one.side, one.side, 3)


FUZZED = vault(holders=[KEY], face=picture(1, (8, 8)))[0]


@given(
    st.sampled_from(["aead", "flow", "decoy"]), st.integers(1, 2**15), st.integers(1, 5000),
    st.text("abc_-4", min_size=1, max_size=64), st.binary(min_size=32, max_size=32),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_heads_survive_writing_and_reading(mode, height, width, method, model):
    header = head(mode, height=height, width=width, method=method, model=model)
    header = admit(header, [KEY])[0]
    assert parse_header(header.encode()[14:]) == header


@given(st.binary(max_size=9000))
@settings(max_examples=50, deadline=None)
def test_padding_hides_sizes_and_comes_off(message):
    padded = pad(message)
    assert (len(padded) + TAG_BYTES) % PADDING == 0
    assert unpad(padded) == message
