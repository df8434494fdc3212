"""The page of a capture session: what was taken, as small pictures, exposures and saturation.

Standard library and numpy alone, as it is made where the camera is.
"""

import base64
import html
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.store import atomic_write
from hardware.frames import RawFrame
from hardware.session import Recorded, Session, Step

#: Widest side of a small picture, and how many of them a page shows at most.
SIDE, MOST = 160, 64
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem"
_STYLE = Path(__file__).parent / "report" / "style.css"


def write_contact_sheet(session: Session, metrics: Mapping[str, float]) -> Path:
    """Write ``report.html`` into the folder of a session, and return its path."""
    frames = sorted(session.history.frames.values(), key=lambda frame: frame.number)
    first: dict[tuple[str, float], Recorded] = {}
    for frame in frames:
        first.setdefault((frame.step, frame.exposure), frame)
    shown = list(first.values())[:: math.ceil(len(first) / MOST) or 1]
    camera = session.identity["camera"]
    full = sum(frame.saturated > 0 for frame in frames)
    headline = f"{len(frames)} raw frames in {metrics['steps_done']:.0f} steps"
    lead = (
        f"Plan {session.plan.name} on rig {session.identity['rig']}: {camera['model']} in mode "
        f"{camera['mode']['name']}. {full} frames have pixels at or near saturation; "
        f"{metrics['settings_unconfirmed']:.0f} have settings that the sensor did not confirm; "
        f"{metrics['frames_lost']:.0f} were lost and taken again; interrupted "
        f"{metrics['resumes']:.0f} times."
    )
    parts = [
        "<h2>Frames</h2><p>The first of each step and exposure, from black to its brightest "
        "pixel by the square root.</p>",
        _pictures(session, shown),
        "<h2>Exposures</h2><p>Level: brightest colour "
        "channel, of white minus black. Saturated: share of the pixels above 90 % of that.</p>",
        _table(session, first, frames),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Veilens capture: {html.escape(session.folder.name)}</title>"
        f'<link rel="icon" href="data:,"><style>{_STYLE.read_text("utf-8")}</style></head><body>'
        f'<header><p class="kicker"><b>Veilens</b> · capture · {html.escape(session.folder.name)}'
        f'</p><h1>{headline}</h1><p class="verdict">{html.escape(lead)}</p></header>'
        f"<main><section>{''.join(parts)}</section></main></body></html>\n"
    )
    path = session.folder / "report.html"
    atomic_write(path, page.encode())
    return path


def _pictures(session: Session, shown: Sequence[Recorded]) -> str:
    figures = []
    for record in shown:
        picture = thumbnail(session.load(record))
        source = base64.b64encode(png(picture)).decode()
        text = f"{record.number}: {record.step}, {seconds(record.exposure)}"
        figures.append(
            f'<figure><div class="paper"><img src="data:image/png;base64,{source}" '
            f'alt="{html.escape(text)}" width="{picture.shape[1]}" height="{picture.shape[0]}">'
            f"</div><figcaption>{html.escape(text)}</figcaption></figure>"
        )
    return f'<div style="{_GRID}">{"".join(figures)}</div>'


def _table(
    session: Session, first: Mapping[tuple[str, float], Recorded], frames: Sequence[Recorded]
) -> str:
    heads = ["step", "kind", "position", "light", "exposure", "frames", "level", "saturated"]
    rows = []
    for name, exposure in first:
        own = [frame for frame in frames if (frame.step, frame.exposure) == (name, exposure)]
        step = session.step(name)
        cells = [
            step.kind, _place(step, session), _light(step), seconds(exposure), f"{len(own)}",
            f"{100 * max(frame.level for frame in own):.1f} %",
            f"{100 * max(frame.saturated for frame in own):.3g} %",
        ]  # fmt: skip
        inner = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{inner}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _place(step: Step, session: Session) -> str:
    units = {name: axis["unit"] for name, axis in session.identity["axes"].items()}
    return ", ".join(f"{name} = {v:.6g} {units[name]}" for name, v in step.position.items())


def _light(step: Step) -> str:
    return ", ".join(f"{name} {level:g}" for name, level in step.light.items()) or "dark"


def seconds(time: float) -> str:
    """Return an exposure [s] as people write it.

    >>> seconds(0.0123), seconds(2.0)
    ('12.3 ms', '2 s')
    """
    if time >= 1:
        return f"{time:.4g} s"
    return f"{time * 1e3:.4g} ms" if time >= 1e-3 else f"{time * 1e6:.4g} us"


def thumbnail(frame: RawFrame) -> NDArray[np.uint8]:
    """Return a small picture of a frame, each pixel the mean of a block of whole mosaic cells."""
    block = 2 * max(1, math.ceil(max(frame.shape) / (2 * SIDE)))
    rows, columns = max(1, frame.shape[0] // block), max(1, frame.shape[1] // block)
    part = frame.mosaic[: rows * block, : columns * block].astype(np.float64)
    mean = part.reshape(rows, part.shape[0] // rows, columns, -1).mean(axis=(1, 3))
    light = np.clip(mean - float(np.mean(frame.black_level)), 0.0, None)
    # at least the last percent of the range is black: darks are not stretched to their noise
    top = max(float(light.max()), 0.01 * (frame.white_level - float(np.mean(frame.black_level))))
    shown: NDArray[np.uint8] = np.rint(255 * np.sqrt(light / top)).astype(np.uint8)
    return shown


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a grey picture (H, W) as a PNG file."""
    height, width = picture.shape
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter, none
    lines[:, 1:] = picture

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
