"""Landmark teachers stored as ONNX graphs, run by onnxruntime (the optional extra "onnx")."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anonymizer.checkpoints import WeightsError, find_weights
from anonymizer.teachers import CROP, LandmarkTeacher

_POINTS = 2 * 68


class OnnxTeacher(LandmarkTeacher):
    """Any graph that takes RGB crops (n, 3, 112, 112) in [0, 1] and gives 68 points in [0, 1].

    Parameters
    ----------
    file, sha256, search
        As in `anonymizer.checkpoints.find_weights`.
    looks, box_side, crop_side
        As in `LandmarkTeacher`.

    Raises
    ------
    WeightsError
        If onnxruntime is absent or cannot read the file, or the graph gives anything else.
    """

    def __init__(
        self,
        *,
        file: str,
        sha256: str,
        search: Sequence[str | Path] = (),
        looks: int = 2,
        box_side: float = 1.1,
        crop_side: float = 1.2,
    ) -> None:
        super().__init__(looks=looks, box_side=box_side, crop_side=crop_side)
        self.path = find_weights(file, sha256, search)
        try:
            import onnxruntime
        except ImportError as error:
            raise WeightsError(
                f"weights {self.path} need onnxruntime; install the extra with "
                f"'pip install veilens[onnx]', or use teacher=faceapi68"
            ) from error
        try:
            self.session: Any = onnxruntime.InferenceSession(
                str(self.path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no public base class for its errors
            raise WeightsError(f"weights {self.path} cannot be read: {error}") from error

    def forward(self, crops: Tensor) -> Tensor:
        """Return points (n, 68, 2) in crop sides of crops (n, 3, 112, 112), 0 to 255."""
        name = self.session.get_inputs()[0].name
        points = []
        for crop in crops:  # many published graphs are fixed to a batch of one
            (out, *_) = self.session.run(None, {name: (crop[None] / 255).cpu().numpy()})
            if out.size != _POINTS:
                raise WeightsError(
                    f"weights {self.path}: the graph gives {out.shape} for a crop of {CROP} px, "
                    f"expected {_POINTS} numbers as its first output"
                )
            points.append(torch.from_numpy(out).reshape(68, 2))
        return torch.stack(points).to(crops)
