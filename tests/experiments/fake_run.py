"""A run folder that looks like a real one: toy faces, a wrapped lens-like mask, speckled PSFs."""

import json
from pathlib import Path

import numpy as np

CAMERAS = ("learned", "in_focus", "defocused", "low_resolution", "random_mask")
DISTANCES = (0.75, 1.0, 1.5, 3.0)
# per camera: blur of the measurement [face widths], NME, AUC off the shelf, retrained, inverted
# with 1 frame and with 100 frames
NUMBERS = {
    "learned": (0.12, 0.061, 0.542, 0.588, 0.571, 0.634),
    "in_focus": (0.004, 0.041, 0.997, 0.998, 0.998, 0.998),
    "defocused": (0.13, 0.074, 0.561, 0.629, 0.668, 0.701),
    "low_resolution": (0.10, 0.069, 0.583, 0.655, 0.612, 0.618),
    "random_mask": (0.13, 0.071, 0.556, 0.661, 0.871, 0.942),
}


def metrics() -> dict[str, float]:
    """Return the flat final numbers of a plausible run."""
    found: dict[str, float] = {
        "landmark_nme_clear": 0.040,
        "reid_auc_clear": 0.998,
        "reid_auc_clear_lo": 0.996,
        "reid_auc_clear_hi": 1.0,
        "exposure_e": 523_000.0,
        "n_people_test": 104,
        "n_genuine": 612,
        "n_impostor": 18_420,
    }
    for camera, (blur, nme, shelf, retrained, one, hundred) in NUMBERS.items():
        prefix = "" if camera == "learned" else f"{camera}/"
        found[f"{prefix}landmark_nme"] = nme
        found[f"{prefix}psf_spread_face_widths"] = blur
        found[f"{prefix}psf_energy_inside"] = 0.973
        found[f"{prefix}inversion_psnr_1"] = 14 + 10 * one
        found[f"{prefix}inversion_psnr_100"] = 14 + 11 * hundred
        attacks = {
            "offtheshelf": shelf,
            "retrained": retrained,
            "inverted_1": one,
            "inverted_100": hundred,
            "inverted_1_10ke": 0.5 + 0.75 * (one - 0.5),
            "inverted_1_1ke": 0.5 + 0.45 * (one - 0.5),
            "inverted_100_10ke": 0.5 + 0.9 * (hundred - 0.5),
            "inverted_100_1ke": 0.5 + 0.7 * (hundred - 0.5),
        }
        for name, auc in attacks.items():
            _add_auc(found, f"{prefix}reid_auc_{name}", auc)
        for distance in DISTANCES:
            near = 1.5 / distance
            at = f"{prefix}{distance:g}m/"
            found[f"{at}landmark_nme"] = nme * (0.75 + 0.25 / near)
            _add_auc(found, f"{at}reid_auc_retrained", 0.5 + (retrained - 0.5) * min(near, 2.0))
    return found


def _add_auc(found: dict[str, float], key: str, auc: float) -> None:
    auc = min(auc, 0.999)
    half = 0.045 * (1 - abs(2 * auc - 1)) + 0.002
    found |= {key: auc, f"{key}_lo": auc - half, f"{key}_hi": min(auc + half, 1.0)}


def _blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (..., H, W) by a Gaussian of `sigma` px, circularly."""
    fy = np.fft.fftfreq(images.shape[-2])[:, None]
    fx = np.fft.rfftfreq(images.shape[-1])
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    return np.fft.irfft2(np.fft.rfft2(images) * transfer, s=images.shape[-2:])


def toy_face(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a face made of ellipses, linear (3, size, size), and its 68 landmarks [px]."""
    y, x = np.mgrid[:size, :size]
    width = size / 1.7
    cx, cy = size / 2 + rng.normal(0, 0.02 * size, 2)

    def inside(dx: float, dy: float, rx: float, ry: float) -> np.ndarray:
        return ((x - cx - dx * width) / (rx * width)) ** 2 + (
            (y - cy - dy * width) / (ry * width)
        ) ** 2 < 1

    skin = np.array([0.62, 0.40, 0.29]) * rng.uniform(0.45, 1.15)
    hair, background = rng.uniform(0.02, 0.25, 3), rng.uniform(0.1, 0.6, 3)
    image = np.empty((size, size, 3))
    image[:] = background * (0.6 + 0.4 * y[..., None] / size)
    image[inside(0, -0.12, 0.56, 0.72)] = hair
    image[inside(0, 0.05, 0.49, 0.66)] = skin
    for side in (-1, 1):
        image[inside(0.22 * side, -0.09, 0.09, 0.045)] = 0.8
        image[inside(0.22 * side, -0.09, 0.04, 0.042)] = hair * 0.4
        image[inside(0.22 * side, -0.22, 0.13, 0.025)] = hair
    image[inside(0, 0.12, 0.06, 0.13)] = skin * 0.75
    image[inside(0, 0.36, 0.17, 0.05)] = [0.45, 0.12, 0.12]
    angle = np.linspace(np.pi, 0, 17)
    points = np.concatenate(
        [
            np.stack([0.5 * np.cos(angle), 0.02 + 0.66 * np.sin(angle)], -1),
            *(
                np.stack([0.22 * s + np.linspace(-0.13, 0.13, 5), np.full(5, -0.22)], -1)
                for s in (-1, 1)
            ),
            np.stack([np.zeros(4), np.linspace(-0.08, 0.14, 4)], -1),
            np.stack([np.linspace(-0.1, 0.1, 5), np.full(5, 0.2)], -1),
            *(
                np.stack(
                    [
                        0.22 * s + 0.09 * np.cos(np.arange(6) * np.pi / 3 + np.pi),
                        -0.09 - 0.045 * np.sin(np.arange(6) * np.pi / 3 + np.pi),
                    ],
                    -1,
                )
                for s in (-1, 1)
            ),
            *(
                np.stack(
                    [r * np.cos(a), 0.36 + 0.32 * r * np.sin(a)],
                    -1,
                )
                for r, a in (
                    (0.18, np.linspace(np.pi, 3 * np.pi, 13)[:-1]),
                    (0.13, np.linspace(np.pi, 3 * np.pi, 9)[:-1]),
                )
            ),
        ]
    )
    # eye 42-47 runs from its inner to its outer corner: 45 is the outer one in both tables
    landmarks = points * width + [cx, cy]
    return np.moveaxis(image + rng.normal(0, 0.01, image.shape), -1, 0).clip(0, 1), landmarks


def _wrapped_height(cells: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : cells * 1j, -1 : 1 : cells * 1j]
    relief = 9e-6 * (x**2 + y**2) + 4e-6 * x**3 - 3e-6 * x * y + 2e-6 * y**4
    noise = _blur(rng.normal(0, 1, (cells, cells)), cells / 60)
    relief += 0.5e-6 * noise / noise.std()
    return np.mod(relief, 1.2e-6)


def _psf(shape: tuple[int, int], sigma: float, rng: np.random.Generator, speckle: float):
    h, w = shape
    y, x = np.mgrid[:h, :w]
    envelope = np.exp(
        -((x - (w - 1) / 2) ** 2 + (y - (h - 1) / 2) ** 2) / (2 * max(sigma, 0.6) ** 2)
    )
    grain = rng.exponential(1.0, (3, h, w)) * speckle + 1 - speckle
    psf = envelope * grain + 1e-7 * rng.exponential(1.0, (3, h, w))
    return psf / psf.sum((-2, -1), keepdims=True)


def evidence(
    people: int = 5,
    size: int = 160,
    cells: int = 640,
    window: int = 90,
    cameras: int = len(CAMERAS),
    distances: int = len(DISTANCES),
):
    """Return the arrays of ``evidence.npz``; the PSF window is not square."""
    rng = np.random.default_rng(7)
    faces = [toy_face(rng, size) for _ in range(people)]
    scenes = np.stack([f for f, _ in faces])
    truth = np.stack([p for _, p in faces])
    width = size / 1.7
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)[:, None, None]
    measured, one, hundred, found, heat = [], [], [], [], []
    y, x = np.mgrid[: size // 2, : size // 2]
    for blur, nme, _, _, auc_1, auc_100 in NUMBERS.values():
        blurred = _blur(scenes, blur * width)
        measured.append(blurred + rng.normal(0, 0.002, scenes.shape))
        for auc, frames in ((auc_1, one), (auc_100, hundred)):
            residual = blur * width * (1.15 - auc)
            noise = _blur(rng.normal(0, 0.12, scenes.shape), 0.25 * residual)
            frames.append(_blur(scenes, residual) + noise * min(1.0, blur * 8))
        points = truth + rng.normal(0, 0.8 * nme, truth.shape) * eyes
        found.append(points)
        heat.append(
            np.stack(
                [
                    np.max(
                        [np.exp(-((x - a / 2) ** 2 + (y - b / 2) ** 2) / 8) for a, b in person],
                        axis=0,
                    )
                    for person in points
                ]
            )
        )
    shape = (window, window + 6)
    cycles = np.linspace(0.25, 40, 120)
    sigmas = [n[0] for n in NUMBERS.values()]
    mtf = [np.exp(-2 * (np.pi * s * cycles) ** 2) for s in sigmas]
    mtf[2] = np.abs(np.sinc(0.45 * cycles)) + 1e-6
    mtf[4] = 0.06 * np.exp(-((cycles / 25) ** 2)) + mtf[4] * 0.94
    mtf[0] = mtf[0] + 2e-4 * rng.exponential(1, cycles.size)
    srgb = np.where(scenes < 0.0031308, 12.92 * scenes, 1.055 * scenes ** (1 / 2.4) - 0.055)
    scenes_8bit = np.round(255 * np.moveaxis(srgb.clip(0, 1), 1, -1)).astype(np.uint8)
    small = scenes_8bit[:, :: max(1, size // 64), :: max(1, size // 64)]
    arrays = {
        "mask_height": _wrapped_height(cells, rng).astype(np.float32),
        "mask_cell": np.float64(5e-3 / cells),
        "aperture_diameter": np.float64(5e-3),
        "camera_names": np.array(CAMERAS),
        "psf": np.stack([_psf(shape, 14.0, rng, 0.35) for _ in DISTANCES]).astype(np.float32),
        "psf_distances": np.array(DISTANCES),
        "baseline_psf": np.stack(
            [_psf(shape, 120 * s, rng, 0.9 if i == 4 else 0.3) for i, s in enumerate(sigmas)]
        ).astype(np.float32),
        "psf_pixel": np.float64(12.4e-6),
        "psf_face_width_px": np.float64(window * 0.55),
        "scenes": scenes_8bit,
        "landmarks_true": truth.astype(np.float32),
        "measurements": np.stack(measured).astype(np.float32),
        "heatmaps": np.stack(heat).astype(np.float32),
        "landmarks_predicted": np.stack(found).astype(np.float32),
        "inversions_1": np.stack(one).astype(np.float32),
        "inversions_100": np.stack(hundred).astype(np.float32),
        "mtf_cycles": cycles,
        "mtf": np.stack(mtf),
        "noise_floor_1": 1.5e-3 * cycles**0.7,
        "noise_floor_100": 1.5e-4 * cycles**0.7,
        "contact_sheet": np.concatenate(
            [np.concatenate(list(np.roll(small, k, 0)) * 3, 1) for k in range(3)], 0
        ),
    }
    for key in (
        "camera_names",
        "baseline_psf",
        "mtf",
        "measurements",
        "heatmaps",
        "landmarks_predicted",
        "inversions_1",
        "inversions_100",
    ):
        arrays[key] = arrays[key][:cameras]
    for key in ("psf", "psf_distances"):
        arrays[key] = arrays[key][:distances]
    return arrays


def history(terms: int = 8) -> list[dict[str, object]]:
    """Return logged steps of every stage, with so many terms of the joint one."""
    rng = np.random.default_rng(3)
    lines: list[dict[str, object]] = []

    def log(stage: str, steps: int, every: int, terms: dict[str, tuple[float, float]]) -> None:
        for step in range(0, steps, every):
            decay = np.exp(-4 * step / steps)
            line: dict[str, object] = {"stage": stage, "step": step, "time": 0.1 * step}
            for term, (start, end) in terms.items():
                line[term] = (end + (start - end) * decay) * float(np.exp(rng.normal(0, 0.08)))
            lines.append(line)

    log("regressor", 2000, 10, {"loss/heatmap": (1.0, 0.08), "loss/coordinates": (0.3, 0.03)})
    joint = {
        "loss/total": (3.0, 0.9),
        "loss/heatmap": (0.5, 0.12),
        "loss/coordinates": (0.2, 0.045),
        "loss/dead_band": (1.4, 0.21),
        "loss/adversary": (0.8, 0.35),
        "loss/energy": (0.2, 0.01),
        "loss/manufacture": (0.4, 0.05),
        "learning_rate": (1e-3, 1e-6),
    }
    log("joint", 4000, 10, dict(list(joint.items())[:terms]))
    log("joint", 4000, 400, {"val/landmark_nme": (0.2, 0.061), "val/psf_spread": (0.01, 0.12)})
    for name in CAMERAS[1:]:
        log(f"baseline_{name}", 2000, 20, {"loss/heatmap": (0.6, 0.14), "loss/total": (0.8, 0.2)})
    for name in CAMERAS:
        for recogniser in ("edgeface", "iresnet"):
            log(
                f"attacker_{name}_{recogniser}",
                300,
                5,
                {"loss/total": (8.0, 2.5), "val/auc": (0.5, NUMBERS[name][3])},
            )
    return lines


def write_fake_run(folder: Path, *, terms: int = 8, **sizes: int) -> Path:
    """Write a whole run folder and return it."""
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics()))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in history(terms)))
    np.savez(folder / "evidence.npz", **evidence(**sizes))
    config = {
        "data": {"name": "toy faces", "context": 1.7},
        "mask": {"cell": "8 um", "max_height": "1.2 um"},
        "camera": {"focal_length": "16 mm", "aperture": "5 mm", "binning": 8},
        "seed": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    versions = {"veilens": "0.1.0", "commit": "0a1b2c3", "torch": "2.13.0"}
    record = {"job": "codesign", "overrides": ["seed=0", "data=toy"], "versions": versions}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "data.json").write_text(
        json.dumps(
            {
                "name": "toy faces",
                "counts": {"pictures": 2104, "people": 520},
                "refused": [{"file": "a/b/half.jpg", "reason": "truncated"}],
            }
        )
    )
    (folder / "trade_off.json").write_text(
        json.dumps(
            [
                {
                    "weight": weight,
                    "landmark_nme": nme,
                    "reid_auc_retrained": auc,
                    "reid_auc_retrained_lo": auc - 0.03,
                    "reid_auc_retrained_hi": auc + 0.03,
                }
                for weight, nme, auc in ((0.1, 0.046, 0.86), (0.3, 0.053, 0.70), (3.0, 0.088, 0.55))
            ]
        )
    )
    return folder
