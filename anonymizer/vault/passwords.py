"""Passwords: how they are written, how much they are worth, and how good ones are made."""

import itertools
import math
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Literal

LONGEST = 1024
"""Longest password, as UTF-8 [bytes]."""

STRENGTH_FLOOR = 64.0
"""Weakest password that is accepted unasked [bits]."""

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_WORD_BITS = 16  # three consonants of 4 bits, two vowels of 2 bits
_MADE_WORD = re.compile(f"(?:[{_CONSONANTS}][{_VOWELS}]){{2}}[{_CONSONANTS}]")
_DICTIONARY_BITS = 13.0  # a word is credited as one of the 7776 of a diceware list
_KEY_FILE_MARK = "veilens-key:"
_KEY_BITS = (128, 256)


@dataclass(frozen=True, repr=False)
class Secret:
    """What opens a vault: a password, or a key that was drawn at random.

    It never shows its value: neither `repr` nor a log line nor a traceback tells it.

    Attributes
    ----------
    kind : {"password", "key"}
        Passwords are stretched, keys need no stretching.
    value : bytes
        UTF-8 of the normalised password, or the 16 or 32 bytes of a key.
    """

    kind: Literal["password", "key"]
    value: bytes

    def __repr__(self) -> str:
        return f"Secret({self.kind}, not shown)"

    @classmethod
    def from_password(cls, text: str) -> "Secret":
        """Return the secret of a password, in normal form NFKC.

        One end of line is dropped, as files and prompts add it.

        Raises
        ------
        ValueError
            If it is empty or longer than 1024 bytes.
        """
        value = unicodedata.normalize("NFKC", text.removesuffix("\n").removesuffix("\r"))
        try:
            encoded = value.encode()
        except UnicodeEncodeError as error:
            raise ValueError("the password is not valid Unicode; type it anew") from error
        if not 1 <= len(encoded) <= LONGEST:
            raise ValueError(f"the password has {len(encoded)} bytes, expected 1 to {LONGEST}")
        return cls("password", encoded)

    @classmethod
    def from_key_file(cls, content: bytes) -> "Secret":
        """Return the secret in a file: a key that `key_file` made, else a password on one line."""
        try:
            text = content[: LONGEST + 2].decode()
        except UnicodeDecodeError as error:
            raise ValueError("the key file is not text; make one with what=key") from error
        if not text.startswith(_KEY_FILE_MARK):
            return cls.from_password(text)
        digits = text.removeprefix(_KEY_FILE_MARK).strip()
        if not re.fullmatch("[0-9a-f]*", digits) or len(digits) * 4 not in _KEY_BITS:
            raise ValueError(
                f"the key file holds {len(digits)} digits, expected 32 or 64 hexadecimal ones "
                f"(128 or 256 bit); copy it again, or make one with what=key"
            )
        return cls("key", bytes.fromhex(digits))

    @property
    def bits(self) -> float:
        """Bits that somebody who guesses must search, as far as can be told [bits]."""
        if self.kind == "key":
            return 8.0 * len(self.value)
        return estimate_bits(self.value.decode())

    def require_strength(self, floor: float = STRENGTH_FLOOR) -> None:
        """Raise ValueError if guessing it takes less than 2**floor attempts."""
        if self.bits < floor:
            raise ValueError(
                f"the password is worth about {self.bits:.0f} bits, at least {floor:.0f} are "
                f"needed; take a generated passphrase or a key file (what=key), or say "
                f"accept_weak=true"
            )


def key_file(bits: int = 256) -> str:
    """Return the content of a new key file of 128 or 256 random bits."""
    if bits not in _KEY_BITS:
        raise ValueError(f"bits = {bits}, expected 128 or 256")
    return f"{_KEY_FILE_MARK}{secrets.token_hex(bits // 8)}\n"


def generate_passphrase(bits: int = 80) -> str:
    """Return a random passphrase that can be spoken, of at least `bits` bits.

    Each word is two open syllables and a consonant, drawn from 65,536, hence exactly 16 bits.
    """
    if not STRENGTH_FLOOR <= bits <= 1024:
        raise ValueError(f"bits = {bits}, expected {STRENGTH_FLOOR:.0f} to 1024")
    return "-".join(_word() for _ in range(math.ceil(bits / _WORD_BITS)))


def _word() -> str:
    letters = (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, _CONSONANTS)
    return "".join(secrets.choice(kind) for kind in letters)


def estimate_bits(password: str) -> float:
    """Return what a password is credited with [bits]; people's habits make it worth less.

    Passphrases of `generate_passphrase` count 16 bits a word. Otherwise every run of letters
    counts at most as one word of a dictionary, every run of digits at most as a date, and what
    repeats or merely counts on is not counted again.

    Examples
    --------
    >>> estimate_bits("aaaaaaaaaaaaaaaaaaaa") < 10
    True
    >>> estimate_bits("lusab-badag-gutih-tugad-zomuz")
    80.0
    """
    words = password.split("-")
    if len(words) > 1 and all(_MADE_WORD.fullmatch(word) for word in words):
        return float(_WORD_BITS * len(set(words)))
    bits, seen = 0.0, set()
    for run in re.findall(r"[^\W\d_]+|\d+|[\W_]+", password):
        folded = run.casefold()
        if folded in seen:
            bits += 1.0
            continue
        seen.add(folded)
        fresh = _fresh_characters(run)
        if run[0].isdigit():
            bits += min(math.log2(10) * fresh, _DICTIONARY_BITS)
        elif run[0].isalpha():
            mixed = run not in (folded, run.upper(), run.capitalize())
            alphabet = 52 if mixed else 26
            bits += min(math.log2(alphabet) * fresh, _DICTIONARY_BITS)
        else:
            bits += 5.0 * fresh
    return bits


def _fresh_characters(run: str) -> int:
    """Count the characters that neither repeat the one before nor count on from it."""
    steps = [ord(b) - ord(a) for a, b in itertools.pairwise(run)]
    return 1 + sum(abs(step) > 1 for step in steps)
