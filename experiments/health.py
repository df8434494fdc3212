"""Whether an adversarial training is alive: accuracies, gradients, spread, and a warning."""

import logging
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

log = logging.getLogger(__name__)

_MEMORY = 0.98  # of the running means, per step
_WARM = 200  # steps before anything is said
_PAUSE = 500  # steps between two warnings of one kind


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Norm of the gradients as the last backward pass left them; 0 where there is none."""
    norms = [p.grad.detach().norm() for p in parameters if p.grad is not None]
    return torch.stack(norms).norm() if norms else torch.zeros(())


def spread(pictures: Tensor) -> Tensor:
    """Mean absolute difference of each picture (B, 3, S, S) and the next one."""
    return (pictures - pictures.roll(1, 0)).abs().mean()


class Watch:
    """Running means of the health values of a training, and warnings in words.

    It remembers nothing over an interruption: it warns, and steers nothing.
    """

    def __init__(self) -> None:
        self.means: dict[str, float] = {}
        self._seen = 0
        self._said: dict[str, int] = {}

    def update(self, step: int, values: Mapping[str, Tensor]) -> list[str]:
        """Take in the values of one step; return, and log, what is wrong."""
        self._seen += 1
        for name, value in values.items():
            mean = self.means.setdefault(name, float(value))
            self.means[name] = _MEMORY * mean + (1 - _MEMORY) * float(value)
        if self._seen < _WARM:
            return []
        said = []
        for kind, message in self._troubles().items():
            if step - self._said.get(kind, -_PAUSE) >= _PAUSE:
                self._said[kind] = step
                log.warning("step %d: %s", step, message)
                said.append(kind)
        return said

    def _troubles(self) -> dict[str, str]:
        mean, found = self.means, {}
        real, fake = mean["health/real"], mean["health/fake"]
        if min(real, fake) > 0.98:
            found["overpowered"] = (
                f"the discriminator is right on {100 * real:.1f} % of pictures and "
                f"{100 * fake:.1f} % of outputs, so the generator learns little from it; try a "
                f"larger recipe.penalty or a lower training.learning_rate"
            )
        if mean["health/spread"] < 0.1 * mean["health/spread_real"]:
            found["collapse"] = (
                f"outputs differ by {mean['health/spread']:.3f}, pictures by "
                f"{mean['health/spread_real']:.3f}: the outputs collapse to one face; try a "
                f"larger weight of the term for spread or diversity"
            )
        if not 1e-6 < mean["gradient/generator"] < 1e4:
            found["gradient"] = (
                f"the generator's gradient has norm {mean['gradient/generator']:.2g}; expected "
                f"1e-6 to 1e4"
            )
        return found
