"""Strehl ratio: what an aberration leaves of the peak."""

from torch import Tensor


def strehl_ratio(psf: Tensor, reference: Tensor) -> Tensor:
    """Peak of a PSF over the peak of the unaberrated one.

    Parameters
    ----------
    psf : Tensor
        (..., H, W), sums to the transmitted energy fraction.
    reference : Tensor
        (..., H, W), the PSF of the same pupil without aberration, normalised alike and sampled
        as finely; its window may differ.

    Returns
    -------
    Tensor
        (...). Of the brightest sample wherever it is, so tilt does not count; between samples a
        peak may hide, which for a PSF of n samples per wavelength and f-number costs up to
        1 - sinc(1 / 2n)^4. Energy outside the window counts as lost light, so neither may be
        scaled to sum 1.
    """
    return psf.amax((-2, -1)) / reference.amax((-2, -1))


def pupil_strehl(pupil: Tensor) -> Tensor:
    r"""Strehl ratio on the axis, from the pupil alone.

    .. math:: S = \frac{\left| \sum p \right|^2}{\left( \sum |p| \right)^2}

    Parameters
    ----------
    pupil : Tensor
        Complex (..., H, W); its amplitude is that of the unaberrated pupil too.

    Returns
    -------
    Tensor
        (...) in [0, 1]. At the place of the ideal image point: tilt counts.

    References
    ----------
    M. Born, E. Wolf, *Principles of Optics*, 7th ed. (1999), sec. 9.1, eq. 24.
    """
    total = pupil.sum((-2, -1))
    peak: Tensor = total.real.square() + total.imag.square()
    return peak / pupil.abs().sum((-2, -1)).square()
