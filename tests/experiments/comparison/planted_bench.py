"""A comparison of planted contestants on people who are easily told apart."""

from collections.abc import Callable, Mapping

from anonymizer.recognition import Recognizer
from experiments.attacks import Attack, Blank, Clear, Defence, OffTheShelf
from experiments.comparison.bench import Bench
from experiments.contestants import Absent, Contestant
from experiments.settings import Settings
from experiments.utility import Utility
from tests.experiments.attacks.planted import SHORT, Constant, OneRow, QuickFromScratch, trial
from tests.experiments.tiny_codesign import TinyRecognizer

REFERENCE = 1.5


class Planted(Contestant):
    """A defence whose worth is known."""

    kind = "protection"

    def __init__(self, title: str, make: Callable[[], Defence]) -> None:
        self.title, self.make, self.opened = title, make, 0

    def made_of(self, place):
        return {"planted": self.title}

    def learned_from(self, place):
        return set()

    def open(self, place, distance):
        self.opened += 1
        return self.make()


class Missing(Planted):
    """A defence without weights."""

    def made_of(self, place):
        raise Absent("no weights of this one are here")


class Measured(Planted):
    """A camera with measured PSFs."""

    kind = "camera"


def leak() -> Defence:
    recognizer: Recognizer = TinyRecognizer(8)
    return OneRow(recognizer.requires_grad_(False))


CONTESTANTS: Mapping[str, Callable[[], Contestant]] = {
    "clear": lambda: Planted("clear", Clear),
    "constant": lambda: Planted("constant", Constant),
    "noise": lambda: Planted("noise", Blank),
    "leak": lambda: Planted("identity in one row", leak),
    "measured": lambda: Measured("as measured", Clear),
    "missing": lambda: Missing("without weights", Clear),
}


def bench(
    folder,
    *names: str,
    attacks: Mapping[str, Attack] | None = None,
    utilities: Mapping[str, Utility] | None = None,
    settings: Mapping[str, object] | None = None,
    **changes,
) -> Bench:
    """Return a bench of some contestants, with its cache below `folder`."""
    attacks = {"off_the_shelf": OffTheShelf()} if attacks is None else attacks
    utilities = utilities or {}
    given = {
        "contestants": {n: {"calibration": "a"} if n == "measured" else {} for n in names},
        "attacks": {name: {"name": name} for name in attacks},
        "utilities": {name: {} for name in utilities},
        "data": {},
        "reference_distance": REFERENCE,
        "distances": [],
        "elsewhere": [],
        "framing": {},
        "threads": 1,
        "processes": 1,
        "progress": False,
        "cache": str(folder / "cache"),
        "seed": 0,
        **(settings or {}),
    }
    return Bench(
        Settings(given),
        attacks,
        utilities,
        {name: CONTESTANTS[name]() for name in names},
        lambda known: trial(Clear(), folder, **changes),
    )


SCRATCH = QuickFromScratch(SHORT)
