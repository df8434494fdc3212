"""Passwords and key files: one normal form, a floor, and no weak stretching."""

import math
import re

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from anonymizer.vault import (
    PROFILES,
    DamagedVault,
    Secret,
    Stretch,
    estimate_bits,
    generate_passphrase,
    key_file,
)
from anonymizer.vault.stretching import root_key
from tests.anonymizer.vault.making import PASSWORD, holder


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u00e9tude", "e\u0301tude"),
        ("\ufb01lm", "film"),
        ("password\n", "password"),
        ("a\r\n", "a"),
    ],
    ids=["composed", "ligature", "line end", "carriage return"],
)
def test_what_looks_the_same_is_the_same_password(one, other):
    assert Secret.from_password(one) == Secret.from_password(other)


def test_only_one_line_end_is_dropped_and_spaces_count():
    assert Secret.from_password("a\n\n").value == b"a\n"
    assert Secret.from_password(" a ").value == b" a "


@pytest.mark.parametrize("text", ["", "\n", "x" * 1025, "\u20ac" * 342, "\ud800"])
def test_empty_long_and_broken_passwords_are_refused_without_showing_them(text):
    with pytest.raises(ValueError, match="the password") as error:
        Secret.from_password(text)
    assert len(text.strip()) < 2 or text.strip() not in str(error.value)


def test_longest_password_is_1024_bytes():
    assert len(Secret.from_password("x" * 1024).value) == 1024


def test_a_secret_never_shows_itself():
    secret = Secret.from_password(PASSWORD)
    shown = f"{secret!r} {secret!s} {[secret]} {secret:}"
    assert PASSWORD not in shown
    assert "lusab" not in shown


@pytest.mark.parametrize("bits", [128, 256])
def test_key_files_hold_a_key_of_their_length(bits):
    secret = Secret.from_key_file(key_file(bits).encode())
    assert (secret.kind, secret.bits) == ("key", bits)


@pytest.mark.parametrize(
    "content", [b"veilens-key:", b"veilens-key:12ab", b"veilens-key:" + b"g" * 64]
)
def test_damaged_key_files_are_refused(content):
    with pytest.raises(ValueError, match="32 or 64 hexadecimal"):
        Secret.from_key_file(content)
    with pytest.raises(ValueError, match="is not text"):
        Secret.from_key_file(b"\xff\xfe")


def test_any_other_file_holds_a_password():
    assert Secret.from_key_file(f"{PASSWORD}\n".encode()) == Secret.from_password(PASSWORD)


def test_generated_passphrases_have_the_stated_strength():
    phrases = [generate_passphrase(80) for _ in range(50)]
    words = [word for phrase in phrases for word in phrase.split("-")]
    assert {len(phrase.split("-")) for phrase in phrases} == {5}
    assert all(re.fullmatch("[a-z]{5}", word) for word in words)
    # 250 of 65,536 words: about half a pair of equal ones is expected
    assert len(set(words)) > 245
    assert min(map(estimate_bits, phrases)) >= 64


@pytest.mark.parametrize(
    "weak",
    ["password", "12345678901234567890", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "qwerty", "Summer2024!",
     "abcdefghijklmnopqrstuvwxyz", "correct horse battery", "monkey-monkey-monkey-monkey-monkey"],
)  # fmt: skip
def test_habits_are_below_the_floor(weak):
    with pytest.raises(ValueError, match="accept_weak") as error:
        Secret.from_password(weak).require_strength()
    assert f"{weak} " not in str(error.value).removeprefix("the password ")


@pytest.mark.parametrize("strong", [PASSWORD, "k7#Wq2!vZ9p-Lx4@"])
def test_random_ones_are_above_the_floor(strong):
    Secret.from_password(strong).require_strength()


def test_credit_is_never_above_that_of_random_characters():
    for text in ("k7#Wq2!vZ9p-Lx4@", "rainy", "0451", "Zoe"):
        assert estimate_bits(text) <= len(text) * math.log2(95)


def test_passwords_are_stretched_as_rfc_9106_recommends_second():
    salt = bytes(range(16))
    argon = Argon2id(
        salt=salt, length=32, iterations=3, lanes=4, memory_cost=65536, ad=b"veilens/v1"
    )
    found = root_key(Secret.from_password("pass\u0301"), salt, PROFILES["default"])
    assert found == argon.derive("pas\u015b".encode())


def test_keys_are_not_stretched_and_passwords_always_are():
    key = Secret.from_key_file(key_file().encode())
    assert root_key(key, bytes(16), None) != root_key(key, b"s" * 16, None)
    with pytest.raises(ValueError, match="passwords alone are stretched"):
        root_key(key, bytes(16), PROFILES["default"])
    with pytest.raises(ValueError, match="passwords alone are stretched"):
        root_key(Secret.from_password("a"), bytes(16), None)


@pytest.mark.parametrize(
    "stretch",
    [(2, 2**16, 4), (3, 2**16 - 1, 4), (0, 2**21, 4), (11, 2**16, 4), (3, 2**22 + 1, 4),
     (3, 2**31, 4), (3, 2**16, 0), (3, 2**16, 17), (1_000_000, 2**16, 4)],
)  # fmt: skip
def test_stretching_has_floor_and_ceiling(stretch):
    with pytest.raises(DamagedVault, match="passes ="):
        Stretch(*stretch)


def test_a_folder_is_stretched_once(monkeypatch):
    calls = []
    monkeypatch.setattr("anonymizer.vault.stretching.root_key", lambda *a: calls.append(a) or b"r")
    one = type(holder())(Secret.from_password(PASSWORD))
    for _ in range(3):
        one.root(bytes(16), PROFILES["default"])
    assert len(calls) == 1
