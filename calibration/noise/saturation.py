r"""Where a sensor saturates, from how clipping takes the noise away.

The level of largest variance is where clipping begins to bite, but the levels that were taken are
a grid, and the nearest one can be percents away. A level that is partly clipped says more. With
the charge of a pixel a normal variable of variance K m, cut at the signal S,

.. math::
    m = S - \sigma \, \ell(z), \quad v = \sigma^2 V(z), \quad \sigma^2 = K m, \quad
    \ell(z) = \phi(z) + z \, \Phi(z)

where z is the distance of the uncut mean below S in deviations and V the variance of a standard
normal variable cut at z. The measured v gives z, and with m follows S, from every clipped level.
"""

import math
from collections.abc import Sequence

from scipy.optimize import brentq
from scipy.special import ndtr

from calibration.uncertainty import Uncertain

# Noise below this share of what the line foretells is taken as clipped.
_CLIPPED = 0.8

# Uneven light and pixels blur the edge; a blur as wide as the noise moves it by a fifth of that.
_BLUR = 0.1


def saturation_signal(
    points: Sequence[tuple[float, float, float]], system_gain: float, dark_variance: float
) -> Uncertain | None:
    """Signal above the dark at which a pixel is full [DN], or None if no level gets there.

    Parameters
    ----------
    points : sequence of tuple
        Signal above the dark [DN], variance [DN^2] and its uncertainty, in the order of light.
    system_gain : float
        Slope of the photon transfer curve [DN/e-].
    dark_variance : float
        Its offset: read noise and quantisation [DN^2].

    Notes
    -----
    The two levels that follow the largest variance decide; further ones say how a pixel behaves
    that is more than full. Half of their difference goes into the uncertainty.
    """
    peak = max(range(len(points)), key=lambda i: points[i][1])
    found = []
    for signal, variance, error in points[peak:]:
        # what follows the well is not cut by it
        shot = max(variance - dark_variance, 0.0)
        if shot >= _CLIPPED * system_gain * signal:
            continue
        edge = _edge(signal, shot, system_gain)
        lower = _edge(signal, max(shot - error, 0.0), system_gain)
        found.append(Uncertain(edge, abs(edge - lower)))
        if len(found) == 2:
            break
    if not found:
        return None
    value = sum(item.value for item in found) / len(found)
    spread = (max(f.value for f in found) - min(f.value for f in found)) / 2
    blur = _BLUR * math.sqrt(system_gain * value)
    chance = math.hypot(*(f.uncertainty for f in found)) / len(found)
    return Uncertain(value, math.hypot(spread, blur, chance))


def clipped_variance(z: float) -> float:
    """Variance of a standard normal variable of which all above `z` is `z`."""
    below, above, density = ndtr(z), ndtr(-z), math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    mean = z * above - density
    return float(below - z * density + z * z * above - mean * mean)


def _edge(signal: float, shot: float, system_gain: float) -> float:
    """Signal at which the pixel is full, from mean and shot noise of a clipped level."""
    # that of the edge itself differs by sigma / 2 S: for 300 electrons 1 % of a part of sigma
    sigma = math.sqrt(system_gain * signal)
    share = shot / sigma**2
    if share <= clipped_variance(-6.0):
        return signal
    z = float(brentq(lambda x: clipped_variance(x) - share, -6.0, 6.0, xtol=1e-9))
    return signal + sigma * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * float(ndtr(z)))
