"""Names of cameras and attacks, and numbers with the digits they deserve."""

from experiments.report.record import LEARNED, Value

_CAMERAS = {
    LEARNED: "learned mask",
    "in_focus": "lens in focus",
    "defocused": "defocused lens",
    "low_resolution": "low resolution",
    "random_mask": "random mask",
}

ATTACKS = {  # metric: (short name, what the attacker does)
    "reid_auc_offtheshelf": ("off the shelf", "a recogniser used as it is"),
    "reid_auc_retrained": ("retrained", "a recogniser retrained on measurements of other people"),
    "reid_auc_inverted_1": (
        "inverted, 1 frame",
        "inversion of one frame with the exact PSF before recognition",
    ),
    "reid_auc_inverted_100": (
        "inverted, 100 frames",
        "inversion of the mean of 100 frames with the exact PSF before recognition",
    ),
}

_ABBREVIATIONS = {"auc", "mtf", "nme", "psf", "psnr"}
COUNTS = {
    "n_people_test": "test people",
    "n_genuine": "same-person pairs",
    "n_impostor": "different-person pairs",
}
ABSENT = "–"


def camera_label(name: str) -> str:
    """Return the name of a camera in prose."""
    return _CAMERAS.get(name, name.replace("_", " "))


def prose(key: str) -> str:
    """Return a stored key as words, with abbreviations in capitals."""
    words = key.replace("/", ", ").replace("_", " ").split(" ")
    return " ".join(word.upper() if word in _ABBREVIATIONS else word for word in words)


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` decimals, a dash where there is none."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def with_interval(value: Value | None, digits: int = 3) -> str:
    """Return ``0.583 [0.521, 0.642]``, without brackets where no interval was computed."""
    if value is None:
        return ABSENT
    if value.low is None or value.high is None:
        return number(value.value, digits)
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def electrons(value: float | None) -> str:
    """Return a photo-charge per binned pixel, for example ``523 ke-``."""
    if value is None:
        return ABSENT
    return f"{value / 1e3:.3g} ke-" if value >= 1e3 else f"{value:.3g} e-"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage."""
    return ABSENT if value is None else f"{100 * value:.{digits}f} %"


def enumerate_words(words: list[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def plural(count: float, noun: str, nouns: str = "") -> str:
    """Return ``1 person``, ``2,304 people``."""
    return f"{count:,.0f} {noun if count == 1 else nouns or noun + 's'}"
