"""A PSF stack as a problem of least squares: residuals and slopes of its valid pixels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from calibration.errors import CalibrationError
from calibration.twin.parameters import free
from calibration.twin.rates import RateModel
from calibration.twin.solve import Linear, Problem


class StackProblem(Problem):
    """A stack to be explained by a model.

    Parameters
    ----------
    model : RateModel
        The model.
    slack : float
        Error of the model, relative to the brightest pixel of a depth, that is added to the
        variance while the model is far off or parts of the light are left out.
    watch : callable
        Called after every depth that was computed.
    """

    def __init__(
        self, model: RateModel, *, slack: float = 0.0, watch: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(free(model.parameters), robust=slack == 0)
        self.model, self._watch = model, watch
        stack = model.stack
        self._measured: list[tuple[Tensor, Tensor, Tensor]] = []
        for depth, view in enumerate(model.views):
            part = (depth, view.rows, view.columns)
            valid = torch.from_numpy(np.ascontiguousarray(stack.valid[part]))
            rate = torch.from_numpy(np.ascontiguousarray(stack.rate[part]))[valid]
            variance = torch.from_numpy(np.ascontiguousarray(stack.variance[part]))[valid]
            brightest = float(rate.max()) if len(rate) else 0.0
            weight = (variance + (slack * brightest) ** 2).rsqrt()
            self._measured.append((valid, rate, weight))
        pixels = sum(len(rate) for _, rate, _ in self._measured)
        if pixels <= len(self.free):
            raise CalibrationError(
                f"{pixels} valid pixels for {len(self.free)} parameters; measure more depths or "
                f"hold more parameters"
            )

    def residual(self, values: Mapping[str, float]) -> list[Tensor]:
        residual = []
        for depth, (valid, rate, weight) in enumerate(self._measured):
            residual.append((rate - self.model.predict(values, depth)[valid]) * weight)
            self._watch()
        return residual

    def linearise(self, values: Mapping[str, float]) -> Linear:
        scale = torch.tensor([p.scatter for p in self.free], dtype=torch.float64)
        residual, slopes = [], []
        for depth, (valid, rate, weight) in enumerate(self._measured):
            expected, change = self.model.linearise(values, depth)
            residual.append((rate - expected[valid]) * weight)
            slopes.append((change[:, valid] * weight * scale[:, None]).float())
            self._watch()
        return Linear(residual, slopes)

    def correlation(self, residual: Sequence[Tensor]) -> float:
        """Normalised correlation of measured and expected rates that left these residuals."""
        measured = torch.cat([rate for _, rate, _ in self._measured])
        weights = [weight for _, _, weight in self._measured]
        rest = torch.cat([part / weight for part, weight in zip(residual, weights, strict=True)])
        return float(torch.corrcoef(torch.stack([measured, measured - rest]))[0, 1])

    def valid(self, depth: int) -> Tensor:
        """Pixels (h, w) of the view of a depth that count."""
        return self._measured[depth][0]
