"""The mask of a run as a file: heights in metres, and the parameters they came from."""

from pathlib import Path

import torch
from torch import Tensor

from experiments.store import load_tensors, save_tensors
from optics import Camera


def save_mask(path: Path, camera: Camera, *, config_sha256: str) -> None:
    """Store the height map in metres and the parameters it came from."""
    mask = camera.mask
    tensors: dict[str, Tensor] = {"height": mask.height().detach().to(torch.float64)}
    tensors |= {f"parameters/{n}": p.detach() for n, p in mask.named_parameters()}
    metadata = {
        "unit": "m",
        "config_sha256": config_sha256,
        "cell": f"{mask.cell:g} m",
        "material": mask.material.name,
        "design_wavelength": f"{mask.design_wavelength:g} m",
        "aperture_diameter": f"{camera.aperture_diameter:g} m",
        "focal_length": f"{camera.lens.focal_length:g} m",
        "focus_distance": f"{camera.focus_distance:g} m",
    }
    save_tensors(path, tensors, metadata)


def load_mask(path: Path, camera: Camera) -> None:
    """Put a stored mask into `camera`."""
    tensors, _ = load_tensors(path)
    prefix = "parameters/"
    own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    camera.mask.load_state_dict(own, strict=False)
