"""Unrest of landmarks over time, apart from the motion of the head."""

import torch
from torch import Tensor


def temporal_jitter(landmarks: Tensor, true: Tensor) -> Tensor:
    """Return the rms change from frame to frame of the error's change, over the eye distance.

    Second differences in time of the error: neither a constant offset nor one that drifts
    evenly counts, however the head moves.

    Parameters
    ----------
    landmarks, true : Tensor
        (..., T, 68, 2) found and true points of T >= 3 frames [px].

    Returns
    -------
    Tensor
        (...).
    """
    if landmarks.shape != true.shape or landmarks.ndim < 3 or landmarks.shape[-3] < 3:
        raise ValueError(
            f"landmarks is {tuple(landmarks.shape)} and true {tuple(true.shape)}, expected "
            f"(..., T, 68, 2) with T >= 3 twice"
        )
    error = landmarks - true
    change = error[..., 2:, :, :] - 2 * error[..., 1:-1, :, :] + error[..., :-2, :, :]
    eyes = torch.linalg.vector_norm(true[..., 45, :] - true[..., 36, :], dim=-1).mean(dim=-1)
    out: Tensor = change.square().sum(dim=-1).mean(dim=(-2, -1)).sqrt() / eyes
    return out
