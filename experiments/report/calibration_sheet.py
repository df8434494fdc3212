"""The page of a calibration: what the camera is, beside what it should have been."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from calibration.psf.spot import MeasuredPsf
from calibration.uncertainty import Uncertain
from experiments.calibration_results import Results, mean_of, truths
from experiments.comparing import Light, Row, light, summary
from experiments.report.drawing import Drawing
from experiments.report.figures_calibration import (
    energy_figure,
    mtf_figure,
    phase_figure,
    psf_figure,
    shown,
    transfer_figure,
)
from experiments.report.sheet import Section, Sheet, Table

_LIGHTS = {"green": ("#1a7f37", "●"), "yellow": ("#b58100", "▲"), "red": ("#d1242f", "✖")}
_NAMES = {
    "ncc": "normalised correlation (NCC)",
    "relative_l2": "relative L2 difference",
    "chi2_per_pixel": "chi-square per pixel",
    "mtf50_change": "change of MTF50",
    "width_change": "change of the rms width",
    "radius_50_change": "change of the radius of 50 % of the energy",
    "radius_80_change": "change of the radius of 80 % of the energy",
    "strehl_change": "change of the peak (Strehl ratio)",
    "drift_px": "largest displacement left [raw pixels]",
}
_FACTORS = {
    "power": "power, logarithm against the first guess",
    "red": "red against green, logarithm",
    "blue": "blue against green, logarithm",
}
_LARGE = 1e5  # from which on numbers are written with a power of ten
_METRE_UNITS = {"m": (1e6, "um"), "rad": (1e3, "mrad")}


def calibration_sheet(
    results: Results, metrics: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    results : Results
        What was found, whole or up to a stage that failed.
    metrics : mapping
        Its numbers.
    thresholds : mapping
        Profile of the traffic lights.
    """
    sections = []
    if results.rows:
        sections.append(_verdict(results, metrics, thresholds))
    if results.stacks:
        sections += _psfs(results)
    if results.twin is not None:
        sections.append(_twin(results))
    if results.noise is not None:
        sections.append(_noise(results))
    if results.notes:
        notes = [
            [f"{n}", prose(note)] for n, note in enumerate(dict.fromkeys(results.notes), start=1)
        ]
        sections.append(Section("What makes numbers doubtful", tables=[Table(["", "note"], notes)]))
    return Sheet(headline=_headline(results, metrics), lead=_lead(results), sections=sections)


def lamp(colour: Light | None) -> Markup:
    """Return a traffic light: colour, shape and word."""
    if colour is None:
        return Markup("")
    ink, shape = _LIGHTS[colour]
    return Markup('<span style="color: {}; white-space: nowrap">{} {}</span>').format(
        ink, shape, colour
    )


def prose(text: str) -> Markup:
    """Return a sentence for a cell of a table, which else holds numbers."""
    style = "display: block; text-align: left; white-space: normal; min-width: 22rem"
    return Markup('<span style="{}">{}</span>').format(style, text)


def lights_table(
    cameras: Mapping[str, Mapping[str, float]], thresholds: Mapping[str, Mapping[str, float]]
) -> Table:
    """Return the numbers of cameras against the measurement, each with its light."""
    rows = []
    for name, text in _NAMES.items():
        cells = [text]
        for found in cameras.values():
            value = found.get(name)
            cells += (
                ["", ""]
                if value is None
                else [_number(name, value), lamp(light(name, value, thresholds))]
            )
        if name in thresholds:
            limits, sign = thresholds[name], "≥" if name == "ncc" else "≤"
            good, fair = (_number(name, limits[colour]) for colour in ("green", "yellow"))
            cells.append(f"{sign} {good} / {fair}")
        else:
            cells.append("")
        rows.append(cells)
    heads = ["measured against"]
    for name in cameras:
        heads += [name, ""]
    return Table([*heads, "green / yellow"], rows)


def depth_tables(rows: Sequence[Row], camera: str) -> list[Table]:
    """Return how a camera compares at every depth, greens alone: likeness, then extents."""
    alike, extents = [], []
    for row in rows:
        if row.plane not in ("Gr", "mono"):
            continue
        like, place = row.likeness, f"{row.distance:.3g} m"
        drift = "" if like.drift is None else ", ".join(f"{s.value:+.3f}" for s in like.drift)
        alike.append(
            [
                place, _uncertain(like.ncc), _uncertain(like.relative_l2),
                f"{like.chi_square:.3g}", _uncertain(like.strehl), drift,
            ]
        )  # fmt: skip
        fall = like.mtf50
        extents.append(
            [
                place,
                "" if fall is None else f"{_uncertain(fall.measured)} / {fall.expected:.4g}",
                *(f"{_uncertain(p.measured)} / {p.expected:.4g}" for p in like.radii.values()),
                f"{_uncertain(like.width.measured)} / {like.width.expected:.4g}",
            ]
        )
    return [
        Table(
            ["distance", "NCC", "relative L2", "chi²/px", "peak ratio", "left over [px]"],
            alike,
            f"First green plane against the {camera}; standard uncertainties by noise. Images were "
            f"laid on one another by tilting the wave of the {camera}; the last column is what a "
            f"registration still finds, down and right.",
        ),
        Table(
            ["distance", "MTF50 [cy/px]", "r 50 % [px]", "r 80 % [px]", "rms width [px]"],
            extents,
            f"Measured / {camera}, in raw pixels, above the background of the {camera}.",
        ),
    ]


def _headline(results: Results, metrics: Mapping[str, float]) -> str:
    if results.failed:
        done = ", ".join(results.done) or "nothing"
        return f"Not whole: {done} done, then it failed"
    parts = []
    if "psf/ncc_to_design" in metrics:
        parts.append(f"correlation with the design {metrics['psf/ncc_to_design']:.3f}")
    if "twin/ncc" in metrics:
        parts.append(
            f"with its twin {metrics['twin/ncc']:.4f} at chi-square "
            f"{metrics['twin/chi2_per_pixel']:.2f} per pixel"
        )
    return f"The camera as measured: {', '.join(parts) or 'noise and PSFs, no design'}"


def _lead(results: Results) -> list[str]:
    session = results.inputs["session"]
    valid = results.valid
    out = []
    if results.failed:
        out.append(f"{results.failed}. What was done before is shown, and is marked as not whole.")
    out.append(
        f"Session {session['folder']}, {session['frames']} frames."
        + (
            f" Photon transfer {results.inputs['transfer']['folder']}."
            if "transfer" in results.inputs
            else ""
        )
    )
    if valid:
        span = valid["temperature_c"]
        away, wave = valid["distance_m"], valid["wavelength_m"]
        parts = [f"mode {valid['mode']}", f"gain {', '.join(f'{g:g}' for g in valid['gain'])}"]
        if span:
            parts.append(f"sensor at {span[0]:.1f} to {span[1]:.1f} °C")
        if away:
            parts.append(f"source at {away[0]:.3g} to {away[1]:.3g} m")
        if wave:
            parts.append(f"bands at {', '.join(f'{w * 1e9:.0f}' for w in wave)} nm")
        out.append(f"Valid for {'; '.join(parts)}.")
    return out


def _verdict(
    results: Results, metrics: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]
) -> Section:
    cameras = {"design": summary(results.rows)}
    if results.twin_rows:
        cameras["twin"] = summary(results.twin_rows)
    tables = [lights_table(cameras, thresholds)]
    reach = metrics.get("psf/dynamic_range_db")
    sentence = (
        "Means over depths and colour planes, changes by their size; peak and displacement are "
        "those of the greens."
    )
    if reach is not None:
        colour = light("dynamic_range_db", reach, thresholds)
        shown_light = f" ({colour})" if colour else ""
        sentence += f" Least dynamic range of a merged PSF: {reach:.1f} dB{shown_light}."
    return Section("Does the camera match its design?", sentence, tables=tables)


def _psfs(results: Results) -> list[Section]:
    field = results.twin_field
    stack = results.stacks[field]
    step = 2 if stack.cfa else 1
    cameras = {}
    rows: dict[str, Sequence[Row]] = {}
    if results.laid:
        cameras["design"] = results.laid[field]
        rows["design"] = [row for row in results.rows if row.field == field]
    if results.twin is not None:
        cameras["twin"] = results.twin
        rows["twin"] = [
            Row(field, r.depth, r.distance, r.plane, r.likeness) for r in results.twin_rows
        ]
    depths = shown(stack, cameras)
    several = f" (one of {len(results.stacks)} places)" if len(results.stacks) > 1 else ""
    figures: list[Drawing] = [psf_figure(depths, step)]
    out = [
        Section(f"Point-spread functions{several}", figures=figures,
                tables=[_merged(results.measured)])
    ]  # fmt: skip
    if rows:
        tables = [table for name, own in rows.items() for table in depth_tables(own, name)]
        out.append(
            Section(
                "Transfer and energy",
                figures=[mtf_figure(rows), energy_figure(depths, step)],
                tables=tables,
            )
        )
    return out


def _merged(measured: Mapping[str, MeasuredPsf | None]) -> Table:
    rows = []
    for name, one in measured.items():
        if one is None:
            continue
        plane = one.planes.get("Gr") or next(iter(one.planes.values()))
        rows.append(
            [
                name, f"{one.dynamic_range:.1f} dB", f"{plane.peak:.3g}",
                _uncertain(plane.energy), _uncertain(plane.width),
                *(f"{radius:.3g}" for radius in plane.encircled.values()),
                ", ".join(f"{c.value:.2f}" for c in plane.centroid),
            ]
        )  # fmt: skip
    return Table(
        ["step", "peak over surroundings", "peak [e-/s]", "energy [e-/s]", "rms width [px]",
         "r 50 % [px]", "r 80 % [px]", "r 95 % [px]", "centroid row, column"],
        rows,
        "Each merged PSF by itself: first green plane. Peak over surroundings is the least of all "
        "planes; where the spot fills the region its own wings are its surroundings, and energy "
        "and widths are those above them.",
    )  # fmt: skip


def _twin(results: Results) -> Section:
    if results.twin is None or results.twin.fit is None:
        raise ValueError("there is no fitted twin")
    fit, known = results.twin.fit, truths(results)
    units = {p.name: p.unit for p in fit.parameters}
    rows, far = [], 0
    for name, estimate in fit.estimates.items():
        factor, unit = _METRE_UNITS.get(units[name], (1.0, units[name]))
        if name.startswith("noll_"):
            factor, unit = 1e9, "nm"
        value = Uncertain(estimate.value * factor, estimate.uncertainty * factor)
        cells = [_words(name), *_digits(value), unit]
        if known:
            truth = known.get(name)
            if truth is None:
                cells += ["", ""]
            else:
                pull = (estimate.value - truth) / max(estimate.uncertainty, 1e-300)
                far += abs(pull) > 3
                cells += [f"{truth * factor:.4g}", f"{pull:+.1f}"]
        rows.append(cells)
    heads = [
        "parameter",
        "value",
        "uncertainty",
        "unit",
        *(["truth", "deviations"] if known else []),
    ]
    judged = sum(name in known for name in fit.estimates)
    tables = [
        Table(
            heads, rows,
            f"{judged - far} of {judged} lie within three standard deviations of what the bench "
            f"was drawn with; the fit did not see it." if known else "",
        )
    ]  # fmt: skip
    if fit.unidentifiable:
        tables.append(
            Table(
                ["not identifiable", "why"],
                [[_words(name), prose(why)] for name, why in fit.unidentifiable.items()],
                "These data do not tell them: they get no number.",
            )
        )
    band = fit.design.sensor.bands[len(fit.design.sensor.bands) // 2]
    figures = [phase_figure(results.twin, band.centre)]
    way = "away from" if fit.direction > 0 else "towards"
    return Section(
        "The camera as it was made: its digital twin",
        f"{fit.pixels} pixels, chi-square {fit.chi_square:.3f} per pixel, {fit.outliers} outliers; "
        f"distances grow {way} the camera. Piston, image tilt and the factor of source power, "
        f"transmission and gain cannot be told apart from other parameters and are fixed.",
        figures, tables,
    )  # fmt: skip


def _noise(results: Results) -> Section:
    noise = results.noise
    if noise is None:
        raise ValueError("there is no noise model")
    quantities = [
        ("system gain [DN/e-]", "system_gain"),
        ("black level [DN]", "black_level"),
        ("read noise [e-]", "read_noise"),
        ("row noise [e-]", "row_noise"),
        ("dark current and stray light [e-/s]", "dark_current"),
        ("full well [e-]", "full_well"),
        ("response, PRNU [%]", "prnu"),
        ("offsets, DSNU [e-]", "dsnu"),
    ]
    truth = (results.truth or {}).get("noise", {})
    rows = []
    for text, name in quantities:
        factor = 100.0 if name == "prnu" else 1.0
        cells = [text]
        for plane in noise.planes.values():
            value: Uncertain | None = getattr(plane, name)
            cells.append(
                "not measured"
                if value is None
                else _uncertain(Uncertain(value.value * factor, value.uncertainty * factor))
            )
        if truth:
            cells.append(f"{truth[name] * factor:.4g}" if name in truth else "")
        rows.append(cells)
    heads = ["", *noise.planes, *(["truth"] if truth else [])]
    figures = []
    if results.transfer is not None:
        gains = {name: plane.system_gain.value for name, plane in noise.planes.items()}
        figures.append(transfer_figure(results.transfer, gains))
    gain = mean_of(noise, "system_gain")
    return Section(
        "The sensor",
        f"Mode {noise.mode}, analogue gain {noise.gain:g}, mean system gain {gain} DN/e-.",
        figures, [Table(heads, rows)],
    )  # fmt: skip


def _number(name: str, value: float) -> str:
    return f"{value:.2%}" if name.endswith("_change") else f"{value:#.4g}"


def _words(name: str) -> str:
    if name in _FACTORS:
        return _FACTORS[name]
    if name.startswith("noll_"):
        return f"wavefront, Noll {name[5:]}"
    for axis in "yx":
        if name.endswith(f"_{axis}"):
            return f"{name[:-2].replace('_', ' ')} along {axis}"
    return name.replace("_", " ")


def _digits(value: Uncertain) -> tuple[str, str]:
    """Value and uncertainty to the same digit, two of the uncertainty."""
    if not value.uncertainty > 0:
        return f"{value.value:.4g}", ""
    if abs(value.value) >= _LARGE:
        return f"{value.value:.4g}", f"{value.uncertainty:.2g}"
    digits = max(0, 1 - int(np.floor(np.log10(value.uncertainty))))
    return f"{value.value:.{digits}f}", f"{value.uncertainty:.{digits}f}"


def _uncertain(value: Uncertain) -> str:
    return " ± ".join(part for part in _digits(value) if part)
