"""The token that clients of an agent show: from a file or the environment, never a setting."""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

#: Environment variable that may hold it.
VARIABLE = "VEILENS_TOKEN"
#: Fewest and most characters.
SHORTEST, LONGEST = 16, 256


def new_token() -> str:
    """Return a random token of 256 bits."""
    return secrets.token_urlsafe(32)


def read_token(key_file: Path | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the token of `key_file`, else that of the environment, else "".

    Parameters
    ----------
    key_file : Path or None
        File that holds the token alone, readable by its owner alone.
    environment : mapping, optional
        Where `VARIABLE` is looked for; by default that of the process.

    Raises
    ------
    ValueError
        The file cannot be read, others may read it, or the token is too short.
    """
    if key_file is None:
        found, source = (environment or os.environ).get(VARIABLE, ""), VARIABLE
        return "" if not found else check_token(found.strip(), source)
    try:
        mode = key_file.stat().st_mode
        text = key_file.read_text("utf-8")[: LONGEST + 2]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"key_file = {key_file}: cannot be read ({error})") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"key_file = {key_file}: others may read it; chmod 600 {key_file}")
    return check_token(text.strip(), f"key_file {key_file}")


def check_token(token: str, source: str = "token") -> str:
    """Return the token, or raise ValueError where it cannot be one; it is never repeated."""
    if not SHORTEST <= len(token) <= LONGEST or not token.isascii() or not token.isprintable():
        raise ValueError(
            f"{source}: a token has {SHORTEST} to {LONGEST} characters of ASCII; make one with "
            'python3 -c "import secrets; print(secrets.token_urlsafe())"'
        )
    if " " in token:
        raise ValueError(f"{source}: a token holds no blanks")
    return token
