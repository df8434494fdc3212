"""The page of an evaluated protection: faces side by side, and its numbers."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from experiments.report.drawing import (
    INK,
    QUIET,
    Drawing,
    bare,
    house_style,
    new_figure,
    to_display,
)
from experiments.report.sheet import Section, Sheet, Table

_NUMBERS = {
    "protected_psnr": "protected against obfuscated, PSNR [dB]",
    "protected_ssim": "protected against obfuscated, SSIM",
    "recovered_psnr": "recovered with the right key, PSNR [dB]",
    "recovered_psnr_png8": "the same through an 8-bit file, PSNR [dB]",
    "wrong_key_acceptance": "accepted as the same person with wrong keys, in the worst view",
    "wrong_key_acceptance_file": "the same, of what a file holds",
    "protected_acceptance": "accepted without a key, by the protected face alone",
    "wrong_key_structure": "structure of the original that wrong keys show, 0 to 1",
    "protected_structure": "the same of the protected face, without a key",
    "verification_auc": "verification of protected faces, AUC",
    "verification_eer": "verification of protected faces, EER",
    "key_bits": "key [bits]",
    "key_search_seconds": "expected search for the key on this machine [s]",
    "bytes_sent": "bytes that leave the machine for one picture",
    "ms_per_image": "time to protect one face [ms]",
}
_SHORT = {  # of the comparison of methods
    "protected_psnr": "protected PSNR [dB]",
    "protected_ssim": "protected SSIM",
    "recovered_psnr": "recovered PSNR [dB]",
    "recovered_psnr_png8": "through 8 bits [dB]",
    "wrong_key_acceptance": "accepted with wrong keys",
    "protected_acceptance": "accepted without a key",
    "wrong_key_structure": "structure with wrong keys",
    "protected_structure": "structure without a key",
    "verification_auc": "AUC",
    "verification_eer": "EER",
    "verification_tar_0.01": "TAR at FAR 0.01",
    "key_search_seconds": "key search [s]",
    "bytes_sent": "bytes sent",
    "ms_per_image": "ms per face",
}
_KEYED = (  # of methods that recover by their key alone
    "wrong_key_acceptance_file", "protected_acceptance", "wrong_key_structure",
    "protected_structure",
)  # fmt: skip
_VIEWS = (
    "Recoveries with wrong keys are judged before they are clipped: as a file would hold them, "
    "stretched, corrected with the original at hand, and averaged over keys; the view in which "
    "most are accepted counts, at a false accept rate of 0.001. Structure is the squared "
    "correlation with the original in small windows; noise has about 0.01."
)
_TILE = 1.3  # side of a face [in]
_COMPARED = 2  # people in each figure of the comparison


def protection_sheet(
    method: str,
    vault: str,
    numbers: Mapping[str, Any],
    columns: Mapping[str, Tensor],
    wrong: Tensor | None = None,
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    method, vault : str
        What protected, and how the originals are kept.
    numbers : mapping
        Those of `metrics.json`; null where there is none, its reason beside it.
    columns : mapping of str to Tensor
        Faces (n, 3, S, S) in linear light, by the heading of their column.
    wrong : Tensor, optional
        What many wrong keys recover of the first face, (n, 3, S, S) in linear light.
    """
    promise = (
        "The originals are encrypted: without a key nothing of them is in the files but what the "
        "protected faces show."
        if vault == "aead"
        else "This is obfuscation, not encryption: no proof says what an attacker with a better "
        "network recovers without the key."
    )
    people = f"{numbers['n_images']} pictures of {numbers['n_people']} people never seen before"
    lead = [
        f"{people}. A gallery of clear, different pictures tells who a protected face is with an "
        f"AUC of {_shown(numbers['verification_auc'])} (0.5 is chance), in the eyes of the "
        f"recogniser {numbers['recogniser']}, as it is; one trained on protected faces may see "
        f"more.",
        promise,
    ]
    rows = [
        (text, _with_reason(numbers, key))
        for key, text in _NUMBERS.items()
        if key in numbers or key not in _KEYED
    ]
    table = Table(("measure", "value"), rows, _VIEWS if vault != "aead" else "")
    with house_style():
        drawing = Drawing(
            "faces",
            _faces(columns),
            alt=f"Rows of faces, each as {', '.join(columns)}.",
            caption="Each row is one person. All faces are shown as sRGB.",
            photographic=True,
            full=True,
        )
        drawings = [drawing]
        if wrong is not None:
            drawings.append(
                Drawing(
                    "wrong_keys",
                    _grid(wrong),
                    alt=f"What {len(wrong)} wrong keys recover of one face.",
                    caption=f"What {len(wrong)} wrong keys recover of the first face, before it "
                    f"is clipped: each colour from its 1st to its 99th percentile.",
                    photographic=True,
                    full=True,
                )
            )
    return Sheet(
        f"{method}, vault {vault}", lead, [Section("Faces and numbers", "", drawings, [table])]
    )


def comparison_sheet(
    found: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Tensor]]],
) -> Sheet:
    """Lay out the page of several methods.

    Parameters
    ----------
    found : mapping
        Numbers and faces of each method, as `protection_sheet` takes them, by its name; the
        numbers also say under "vault" how originals are kept.
    """
    first = next(iter(found.values()))[0]
    lead = [
        f"{first['n_images']} pictures of {first['n_people']} people never seen before, the same "
        f"for every method. Verification matches protected faces to clear ones of the same "
        f"people, in the eyes of a recogniser that was not trained on protected faces; one that "
        f"was may see more.",
        "With vault aead the original is encrypted, and comes back bit for bit; every method can "
        "be had that way. With vault flow the method itself recovers a likeness: obfuscation.",
    ]
    headings = ("method", "vault", *(text for text in _SHORT.values()))
    rows = [
        (name, str(numbers["vault"]), *(_short(numbers, key) for key in _SHORT))
        for name, (numbers, _) in found.items()
    ]
    with house_style():
        drawings = [
            Drawing(
                f"faces_{name}",
                _faces({title: faces[:_COMPARED] for title, faces in columns.items()}),
                alt=f"{name}: rows of faces, each as {', '.join(columns)}.",
                caption=f"{name}. Each row is one person; all faces are shown as sRGB.",
                photographic=True,
                full=True,
            )
            for name, (_, columns) in found.items()
        ]
    note = (
        "Protected faces are compared with what they should look like: their obfuscation; where "
        "the obfuscation is all there is, with the original. Intervals: 95 %, people resampled. "
        f"{_VIEWS}"
    )
    table = Table(headings, rows, note)
    return Sheet(
        f"{len(found)} methods on the same people", lead,
        [Section("Numbers", "", [], [table]), Section("Faces", "", drawings)],
    )  # fmt: skip


def _short(numbers: Mapping[str, Any], key: str) -> str:
    if numbers.get(key) is None:
        return ""
    if f"{key}_lo" not in numbers:
        return _shown(numbers[key])
    return f"{numbers[key]:.3f} [{numbers[f'{key}_lo']:.3f}, {numbers[f'{key}_hi']:.3f}]"


def _faces(columns: Mapping[str, Tensor]) -> Figure:
    count = len(next(iter(columns.values())))
    figure = new_figure(_TILE * len(columns), _TILE * count + 0.3, pad=0.03)
    sheet = figure.subplots(count, len(columns), squeeze=False)
    for j, (title, faces) in enumerate(columns.items()):
        for i, face in enumerate(faces):
            sheet[i][j].imshow(to_display(face.numpy()))
            bare(sheet[i][j])
        sheet[0][j].set_title(title, color=INK if j else QUIET, fontsize=9.5, pad=4)
    return figure


def _grid(faces: Tensor) -> Figure:
    across = 8
    down = -(-len(faces) // across)
    figure = new_figure(_TILE * across, _TILE * down, pad=0.03)
    sheet = figure.subplots(down, across, squeeze=False).flatten()
    for place, face in zip(sheet, faces, strict=False):
        place.imshow(to_display(face.numpy()))
    for place in sheet:
        bare(place)
    return figure


def _with_reason(numbers: Mapping[str, Any], key: str) -> str:
    if numbers.get(key) is None:
        return f"none: {numbers.get(f'{key}_reason', 'not measured')}"
    return _shown(numbers[key])


def _shown(value: float) -> str:
    return f"{value:.4g}"
