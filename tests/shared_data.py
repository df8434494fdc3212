"""Real faces, weights and measurements for tests: used where present, never required."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """Return a file or folder of the shared data; skip the test if it is not there."""
    found = FOLDER / path
    if not found.exists():
        pytest.skip(f"shared data {path} is not on this machine")
    return found
