"""Compare ways to hide who is on a picture: cameras and software, under the same attacks.

Every method is attacked by the same attackers on the same people, and measured for what it leaves;
one table says what an attacker still learns and what a user still can do. What was computed is
kept: a further method costs its own cells only, and an interrupted comparison goes on.

    ./lab compare                                         the methods of contestants=standard
    ./lab compare contestants=full suite=full
    ./lab compare design=<codesign run> anonymizer=latest
    ./lab compare contestants=hardware calibration=latest    simulation against hardware
    ./lab compare hardware calibration=latest             a made mask beside its design
"""

from pathlib import Path

from experiments.comparing_hardware import check_hardware, compare_hardware
from experiments.comparison.methods import check_methods, compare_methods
from experiments.launch import run_job
from experiments.settings import Settings, SettingsError

_WHAT = {
    "methods": (check_methods, compare_methods),
    "hardware": (check_hardware, compare_hardware),
}


def main(settings: Settings, run: Path) -> None:
    """Compare methods, or one calibration with its design."""
    _WHAT[settings["what"]][1](settings, run)


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in _WHAT:
        raise SettingsError(f"what = {settings['what']!r}, expected {' or '.join(_WHAT)}")
    _WHAT[settings["what"]][0](settings)


if __name__ == "__main__":
    run_job("compare", main, check=check, named={"suite": "suite@attacks"})
