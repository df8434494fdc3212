"""The page of an evaluated anonymizer: faces side by side, and its numbers with their limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

_TILE = 1.1  # side of a face [in]
_INTERVALS = "Areas and means have intervals over people, shares exact ones over pictures."
_PRIVACY = {
    "reid_source_auc": "source recognised, AUC, recognisers as they are",
    "reid_source_auc_retrained": "source recognised, AUC, fine-tuned on outputs of other people",
    "reid_landmarks_auc": "source recognised, AUC, by the landmarks read off the measurement alone",
    "reid_reference_auc": "person who lent a style recognised, AUC",
    "reid_clear_auc": "for comparison: source recognised on its clear picture, AUC",
    "linkage_auc": "two outputs of one person told from two of different people, AUC",
    "linkage_dsys": "linkage of two outputs of one person, D_sys",
}
_UTILITY = {
    "detection_rate": "faces found by MTCNN in outputs",
    "detection_rate_clear": "faces found in clear pictures of the same size",
    "nme": "landmarks of outputs against those of the source, over the eye distance",
    "nme_clear": "the same network on the clear pictures",
    "nme_camera": "read off the measurement by the camera's own network",
    "nme_failures": "outputs whose landmarks are off by more than 0.10",
    "pose_yaw_error_deg": "yaw of the head moved by [degrees]",
    "pose_pitch_error_deg": "pitch [degrees]",
    "pose_roll_error_deg": "roll [degrees]",
    "published_lm_px": "LM as published: five points moved by [px of 256]",
    "published_bb_px": "BB as published: centre of the box moved by [px of 256]",
    "eye_error": "LM corrected: five points moved, over the eye distance",
    "box_overlap": "BB corrected: overlap of the boxes",
    "temporal_jitter": "unrest of landmarks in clips, over the eye distance",
    "temporal_jitter_clear": "the same in the clear clips",
}
_LIKENESS = {
    "diversity": "two outputs of one picture differ, mean of sRGB values",
    "diversity_identity": "the same, one minus the cosine of a recogniser",
    "diversity_lpips": "the same, LPIPS",
    "fid": "FID",
    "kid": "KID",
    "fid_cvpr2024": "FID by torchvision's weights, as Lopez et al., CVPR 2024",
    "kid_cvpr2024": "KID by torchvision's weights",
}


@dataclass(frozen=True)
class Shown:
    """Pictures of the figure, all (n, 3, S, S) in linear light.

    Attributes
    ----------
    source, measurement : Tensor
        A row for each of n people.
    references : Tensor
        (k, 3, S, S) faces that lent the first k styles.
    made : mapping of str to Tensor
        Outputs by the heading of their column, those of the references first.
    """

    source: Tensor
    measurement: Tensor
    references: Tensor
    made: Mapping[str, Tensor]


def anonymizer_sheet(name: str, numbers: Mapping[str, Any], shown: Shown) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    name : str
        Of the run that is judged.
    numbers : mapping
        Those of `metrics.json`; null where there is none, its reason beside it.
    shown : Shown
        Pictures of the figure.
    """
    with house_style():
        drawing = Drawing(
            "faces",
            _faces(shown),
            alt=f"Rows of faces: source, measurement, {', '.join(shown.made)}.",
            caption="Each row is one person never seen in training. The networks see the "
            "measurement alone. The top row lends its faces to the columns below.",
            photographic=True,
            full=True,
        )
    tables = [
        Section("Identity", _INTERVALS, [], [_table(_PRIVACY, numbers)]),
        Section("Use", "", [], [_table(_UTILITY, numbers)]),
        Section("Likeness to faces", "", [], [_table(_LIKENESS | _distances(numbers), numbers)]),
    ]
    return Sheet(
        f"Anonymizer {name}: the source is recognised with an AUC of "
        f"{_number(numbers['reid_source_auc'])}, faces are found in "
        f"{_percent(numbers['detection_rate'])} of its outputs",
        _lead(numbers),
        [Section("Faces", "", [drawing]), *tables],
    )


def _lead(numbers: Mapping[str, Any]) -> list[str]:
    held = [str(one) for one in numbers["held_out"]]
    judges = (
        f"Beside the recogniser that guarded the training, {', '.join(held)} judged, which it had "
        f"not met; the one that sees most counts ({numbers['reid_source_auc_by']})."
        if held
        else "No recogniser but the guard of the training was at hand, so that low numbers mean "
        "little: it was trained against."
    )
    lead = [
        f"{numbers['n_images']} pictures of {numbers['n_people']} people never seen before, at "
        f"{numbers['distance_m']:.3g} m. A gallery of clear, different pictures of the same people "
        f"tells who an output is; 0.5 is guessing. {judges}",
        f"What the judges can do at all is in the row of the clear pictures: "
        f"{_number(numbers['reid_clear_auc'])}. If that is low, a low number of the outputs says "
        f"little too. A stronger recogniser, or one that learned from more outputs, may see more "
        f"than these.",
    ]
    high, limit = numbers["linkage_dsys"], numbers["linkage_dsys_null_hi"]
    if high > limit:
        lead.append(
            f"Two outputs of one person can be linked: D_sys {high:.3f}, while shuffled labels "
            f"stay below {limit:.3f} in 95 of 100 cases."
        )
    return lead


def _faces(shown: Shown) -> Figure:
    columns = {"source": shown.source, "measurement": shown.measurement, **shown.made}
    count = len(shown.source)
    figure = new_figure(_TILE * len(columns), _TILE * (count + 1) + 0.3, pad=0.03)
    sheet = figure.subplots(count + 1, len(columns), squeeze=False)
    for j, (title, faces) in enumerate(columns.items()):
        lent = j - 2
        if 0 <= lent < len(shown.references):
            sheet[0][j].imshow(to_display(shown.references[lent].numpy()))
            bare(sheet[0][j])
        else:
            sheet[0][j].set_axis_off()
        sheet[0][j].set_title(title, color=INK if j > 1 else QUIET, fontsize=9.5, pad=4)
        for i, face in enumerate(faces, start=1):
            sheet[i][j].imshow(to_display(face.numpy()))
            bare(sheet[i][j])
    return figure


def _table(rows: Mapping[str, str], numbers: Mapping[str, Any]) -> Table:
    known = {key: text for key, text in rows.items() if key in numbers}
    cells = [_row(text, key, numbers) for key, text in known.items()]
    reasons = {
        numbers[f"{key}_reason"]: None for key in known if numbers[key] is None
    }  # each once, in their order
    return Table(("measure", "value", "95 % interval", "n"), cells, note="; ".join(reasons))


def _row(text: str, key: str, numbers: Mapping[str, Any]) -> Sequence[str]:
    if numbers[key] is None:
        return text, "none", "", ""
    low, high = (_number(numbers[f"{key}_{end}"]) for end in ("lo", "hi"))
    return text, _number(numbers[key]), f"{low} to {high}", str(numbers[f"{key}_n"])


def _distances(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return the rows of the distances of distributions, by recogniser."""
    words = {"frechet": "Frechet distance to clear faces", "kernel": "kernel distance to them"}
    return {
        f"{kind}_{name}": f"{text}, embeddings of {name}"
        for name in sorted({*numbers["held_out"], numbers["guard"]} - {None})
        for kind, text in words.items()
    }


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.1f} %"
