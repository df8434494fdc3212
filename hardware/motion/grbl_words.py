"""What GRBL 1.1 and grblHAL say, read by name: status reports, settings, alarms, errors."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Letters of the axes in the order of a position.
LETTERS = "XYZABCUV"
#: Alarms after which the controller still knows where it stands.
TRUSTED_ALARMS = frozenset({2, 4, 5})
_ALARMS = {
    1: "a limit switch was hit",
    2: "the target is beyond the soft limits",
    3: "reset in motion",
    4: "the probe was not in its initial state",
    5: "the probe made no contact",
    6: "reset during homing",
    7: "the safety door opened during homing",
    8: "homing could not leave the limit switch",
    9: "homing met no limit switch",
    10: "homing met no second limit switch",
    11: "homing is required",
    14: "the spindle did not reach its speed",
    17: "a motor driver reports a fault",
}
_ERRORS = {
    1: "a letter was expected",
    2: "a number was expected",
    3: "no such setting or command",
    5: "homing is not enabled, $22",
    8: "only possible at rest",
    9: "locked in an alarm",
    10: "soft limits need homing",
    11: "the line is too long",
    14: "the line is too long",
    15: "the target is beyond the travel",
    16: "a jog of the wrong form",
    20: "a word that this controller does not know",
    22: "the feed rate is missing",
    33: "an invalid target",
}
_REPORT = re.compile(r"<([A-Z][A-Za-z]*)(:\d+)?((?:\|[A-Za-z]+:?[^|<>]*)*)>")
_BANNER = re.compile(r"Grbl(HAL)? ?\d", re.IGNORECASE)


def alarm_text(code: int) -> str:
    """Return what an alarm means."""
    return _ALARMS.get(code, "see the controller's list of alarms")


def error_text(code: int) -> str:
    """Return what an error means."""
    return _ERRORS.get(code, "see the controller's list of errors")


def is_banner(line: str) -> bool:
    """Return whether a line is what the controller says after a reset."""
    return _BANNER.match(line) is not None


@dataclass(frozen=True)
class Report:
    """One status report.

    Attributes
    ----------
    state : str
        Such as "Idle", "Alarm".
    substate : int or None
        Number after it, such as 0 in "Hold:0".
    machine, work, offset : tuple of float, or None
        Position in machine and in work coordinates, and their difference, where the report has
        them [mm or degrees, or inches].
    """

    state: str
    substate: int | None
    machine: tuple[float, ...] | None
    work: tuple[float, ...] | None
    offset: tuple[float, ...] | None


def parse_report(line: str) -> Report | None:
    """Return the report in a line ``<Idle|MPos:0.000,0.000,0.000|...>``; None if it is damaged."""
    match = _REPORT.fullmatch(line)
    if match is None:
        return None
    fields = dict(part.partition(":")[::2] for part in match[3].split("|") if part)
    try:
        found = {name: _numbers(fields[name]) for name in ("MPos", "WPos", "WCO") if name in fields}
    except ValueError:
        return None
    if ("MPos" in found) == ("WPos" in found):
        return None
    substate = int(match[2][1:]) if match[2] else None
    return Report(match[1], substate, found.get("MPos"), found.get("WPos"), found.get("WCO"))


def parse_setting(line: str) -> tuple[int, float] | None:
    """Return number and value of a setting in a line ``$100=250.000``; None if it is none."""
    number, equals, value = line.removeprefix("$").partition("=")
    try:
        return (int(number), float(value)) if line[:1] == "$" and equals else None
    except ValueError:  # grblHAL has settings that are texts
        return None


def complaints(
    settings: Mapping[int, float], wanted: Mapping[str, tuple[float, float, float]]
) -> list[str]:
    """Return why these settings of the controller are no good.

    Parameters
    ----------
    settings : mapping of int to float
        As ``$$`` lists them.
    wanted : mapping of str to tuple of float
        Low and high limit and speed by letter [mm or degrees, and the same per minute].
    """
    wrong = []
    if settings.get(13, 0):
        wrong.append("it reports in inches: set $13=0")
    if not int(settings.get(22, 0)) & 1:
        wrong.append("homing is off, so it never knows where it stands: set $22=1")
    if not settings.get(20, 0):
        wrong.append("its own limits are off: set $20=1")
    for letter, (low, high, speed) in wanted.items():
        index = LETTERS.index(letter)
        travel, rate = settings.get(130 + index), settings.get(110 + index)
        if travel is None or rate is None:
            wrong.append(f"it has no axis {letter}")
            continue
        if not (-travel <= low < high <= 0 or 0 <= low < high <= travel):
            wrong.append(
                f"limits {low:g} to {high:g} of {letter} are not within machine coordinates "
                f"{-travel:g} to 0 (0 to {travel:g} where homing sets the origin), ${130 + index}"
            )
        if speed > rate * (1 + 1e-6):
            wrong.append(
                f"speed {speed:g}/min of {letter} is above its {rate:g}/min, ${110 + index}"
            )
    return wrong


def _numbers(text: str) -> tuple[float, ...]:
    values = tuple(float(part) for part in text.split(","))
    if not all(map(math.isfinite, values)):
        raise ValueError(text)
    return values
