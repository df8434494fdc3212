"""The paragraph on top: what the attacker still learns and what the user can still do.

Every sentence is computed from the stored numbers. The strongest of the attacks that were run
speaks for the camera; a claim names attacker, data, counts and the 95 % interval.
"""

from dataclasses import dataclass

from experiments.report.record import LEARNED, RunRecord, Value
from experiments.report.wording import (
    ATTACKS,
    camera_label,
    enumerate_words,
    number,
    percent,
    plural,
    with_interval,
)

LITTLE = 0.60  # an attack below this is drawn as weak; 0.5 is guessing
SMALL_SPREAD = 0.10  # PSF spread [face widths] under which a blur hides no face
FEW_PEOPLE = 30  # fewer test people make a demonstration, not evidence


@dataclass(frozen=True)
class Comparison:
    """A baseline that beats the learned camera, with the numbers that say so.

    Parameters
    ----------
    camera : str
        The baseline.
    judge : {"retrained attacker", "strongest attack"}
        By which attack the two were compared.
    auc, own_auc : Value
        That attack on the baseline and on the learned camera.
    nme, own_nme : Value
        Landmark errors of the two.
    """

    camera: str
    judge: str
    auc: Value
    own_auc: Value
    nme: Value
    own_nme: Value


def strongest_attack(record: RunRecord, camera: str = LEARNED) -> tuple[str, Value] | None:
    """Return the attack with the largest AUC on one camera, and that AUC."""
    found = [(key, value) for key in ATTACKS if (value := record.value(key, camera=camera))]
    return max(found, key=lambda item: item[1].value) if found else None


def better_baselines(record: RunRecord) -> list[Comparison]:
    """Return the baselines that are both more private and more useful than the learned camera.

    Each is judged by the retrained attacker, or by the strongest attack where only that one
    is in its favour.
    """
    comparisons = (_compare(record, camera) for camera in record.cameras if camera != LEARNED)
    return [comparison for comparison in comparisons if comparison is not None]


def _compare(record: RunRecord, camera: str) -> Comparison | None:
    own_nme, nme = (record.value("landmark_nme", camera=name) for name in (LEARNED, camera))
    if own_nme is None or nme is None or nme.value > own_nme.value:
        return None
    own, other = (strongest_attack(record, name) for name in (LEARNED, camera))
    attacks = {
        "retrained attacker": (
            record.value("reid_auc_retrained"),
            record.value("reid_auc_retrained", camera=camera),
        ),
        "strongest attack": (own[1] if own else None, other[1] if other else None),
    }
    for judge, (own_auc, auc) in attacks.items():
        if own_auc is None or auc is None or auc.value > own_auc.value:
            continue
        if auc.value < own_auc.value or nme.value < own_nme.value:
            return Comparison(camera, judge, auc, own_auc, nme, own_nme)
    return None


def verdict(record: RunRecord) -> list[str]:
    """Return the paragraphs of the verdict, in reading order."""
    groups = (_privacy(record), _utility(record), _baselines(record), _reservations(record))
    return [" ".join(sentences) for sentences in groups if sentences]


def headline(record: RunRecord) -> str:
    """Return the shortest honest answer."""
    strongest = strongest_attack(record)
    if strongest is None:
        return "No attack was run on this mask, so nothing is known about its privacy."
    value = strongest[1]
    low, high = value.low, value.high
    if low is None or high is None:
        return "The attack below is a point estimate without an interval: no verdict on privacy."
    if high < LITTLE:
        chance = "do no better than guessing" if low <= 0.5 else "do little better than guessing"
        return f"The attacks tried here {chance}."
    if low <= 0.5:
        return "Too few pairs to say: the interval holds both guessing and a useful attack."
    if value.value < 0.7:
        return "An attacker still learns something about who is in the picture."
    if value.value < 0.9:
        return "An attacker still learns a good deal about who is in the picture."
    return "This mask does not hide who is in the picture."


def sample(record: RunRecord) -> str:
    """Return the data and the counts behind every privacy number."""
    counts = [
        plural(count, *nouns)
        for key, nouns in (
            ("n_people_test", ("test person", "test people")),
            ("n_genuine", ("same-person pair", "same-person pairs")),
            ("n_impostor", ("different-person pair", "different-person pairs")),
        )
        if (count := record.number(key)) is not None
    ]
    if not counts:
        return f"{record.data_name} (counts not stored)"
    return f"{record.data_name}: {enumerate_words(counts)}"


def _privacy(record: RunRecord) -> list[str]:
    strongest = strongest_attack(record)
    if strongest is None:
        return ["Run the attacks to fill this paragraph."]
    key, value = strongest
    clear = record.value("reid_auc_clear")
    scale = "0.5 is guessing" + (f", clear pictures give {number(clear.value)}" if clear else "")
    interval = (
        f"{with_interval(value)}, 95 % interval over people in brackets"
        if value.low is not None
        else f"{with_interval(value)}, no interval stored"
    )
    sentences = [
        f"The strongest attack is {ATTACKS[key][1]}: matched against a clear, different picture "
        f"of each person it reaches AUC {interval} ({scale}), measured on {sample(record)}."
    ]
    others = [
        f"{name} {with_interval(other)}"
        for attack, (name, _) in ATTACKS.items()
        if attack != key and (other := record.value(attack)) is not None
    ]
    if others:
        sentences.append(f"The other attacks: {enumerate_words(others)}.")
    return sentences


def _utility(record: RunRecord) -> list[str]:
    error = record.value("landmark_nme")
    if error is None:
        return ["No landmark error was measured, so nothing is known about its use."]
    sentence = (
        f"The user still finds the 68 landmarks with a mean error of {percent(error.value)} "
        f"of the outer-eye-corner distance"
    )
    clear = record.value("landmark_nme_clear")
    if clear is None or clear.value <= 0:
        return [sentence + "."]
    ratio = error.value / clear.value
    if ratio <= 1.25:
        comment = "about as well as"
    elif ratio <= 2:
        comment = f"{ratio:.1f} times the error"
    else:
        comment = f"much coarser, {ratio:.1f} times the error"
    return [f"{sentence}: {comment} on clear pictures ({percent(clear.value)})."]


def _baselines(record: RunRecord) -> list[str]:
    names = [name for name in record.cameras if name != LEARNED]
    measured = [n for n in names if record.value("landmark_nme", camera=n)]
    if not measured:
        return ["No baseline camera was measured, so the mask is compared with nothing."]
    better = better_baselines(record)
    if not better:
        return ["No baseline measured here is both more private and more useful."]
    sentences = []
    for item in better:
        sentence = (
            f"The {camera_label(item.camera)} is both more private and more useful than the "
            f"learned mask: {item.judge} {with_interval(item.auc)} against "
            f"{with_interval(item.own_auc)}, landmark error {percent(item.nme.value)} "
            f"against {percent(item.own_nme.value)}"
        )
        if item.auc.high is None or item.own_auc.low is None:
            sentence += "; without intervals that difference in privacy is not established"
        elif item.auc.high >= item.own_auc.low:
            sentence += "; the privacy intervals overlap, so that difference is not established"
        sentences.append(sentence + ".")
    return sentences


def _reservations(record: RunRecord) -> list[str]:
    sentences = []
    spread = record.number("psf_spread_face_widths")
    if spread is not None and spread < SMALL_SPREAD:
        sentences.append(
            f"The PSF spreads over only {spread:.3f} face widths; below about {SMALL_SPREAD:.2f} "
            f"a blur is too small to hide a face."
        )
    inside = record.number("psf_energy_inside")
    if inside is not None and inside < 0.9:
        sentences.append(
            f"The simulated window holds only {percent(inside, 0)} of the light, so the "
            f"pictures miss a part of the blur."
        )
    people = record.number("n_people_test")
    if people is not None and people < FEW_PEOPLE:
        sentences.append(
            f"With {plural(people, 'test person', 'test people')} this is a demonstration of "
            f"the method, not evidence about faces at large."
        )
    return sentences
