"""Pseudo-random values drawn from a secret key: the only randomness a key may be turned into.

A key is 32 bytes. HKDF-Expand (RFC 5869, SHA-512) makes a separate stream for each purpose, and
ChaCha20 (RFC 8439) runs it; so knowing one stream tells nothing of another.

Normal values are whole multiples of 2**-12, which every machine computes alike.

References
----------
M. J. Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied
Statistics 37, 477 (1988), routine PPND16.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from numpy.typing import NDArray

KEY_BYTES = 32
"""Length of a key [bytes]."""

GAUSSIAN_STEP = 2.0**-12
"""Unit of the values of `key_gaussian`."""

# numerators and denominators of Wichura's three intervals, highest power first
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def stream(key: bytes, count: int, purpose: str) -> bytes:
    """Return `count` pseudo-random bytes of the stream that `key` has for `purpose`.

    Raises
    ------
    ValueError
        If the key is not 32 bytes long.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"key of {len(key)} bytes, expected {KEY_BYTES}")
    seed = HKDFExpand(SHA512(), KEY_BYTES + 16, purpose.encode()).derive(key)
    cipher = Cipher(ChaCha20(seed[:KEY_BYTES], seed[KEY_BYTES:]), mode=None)
    return cipher.encryptor().update(bytes(count))


def key_bits(key: bytes, count: int, purpose: str) -> NDArray[np.bool_]:
    """Return `count` pseudo-random bits of the stream that `key` has for `purpose`."""
    octets = np.frombuffer(stream(key, -(-count // 8), purpose), np.uint8)
    return np.unpackbits(octets, count=count).astype(np.bool_)


def key_gaussian(key: bytes, count: int, purpose: str) -> NDArray[np.int16]:
    """Return `count` pseudo-random standard normal values, in units of 2**-12.

    52 of the 64 bits drawn for each value become the probability (n + 1/2) / 2**52. With 53 the
    largest would round to 1, whose quantile is infinite. The values reach +-8 (one in 10**15 is
    clipped there), as int16 holds them.
    """
    words = np.frombuffer(stream(key, 8 * count, purpose), np.dtype("<u8"))
    quantiles = normal_quantile((words >> np.uint64(12)).astype(np.float64) + 0.5, 2.0**-52)
    steps = np.rint(quantiles / GAUSSIAN_STEP).clip(-(2**15) + 1, 2**15 - 1)
    return steps.astype(np.int16)


def normal_quantile(counts: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return the quantile of the standard normal distribution at the probability counts * unit.

    Relative error about 1e-16. Only sums, products, quotients, one root and one logarithm are
    used, in this order, so that machines differ by the last bit at most.

    Parameters
    ----------
    counts : ndarray of float64
        Above 0 and below 1 / unit.
    unit : float
        A power of two.
    """
    centred = counts * unit - 0.5
    result = centred * _ratio(_CENTRE, 0.180625 - centred * centred)
    (outer,) = np.nonzero(np.abs(centred) > 0.425)
    # the smaller of the two probabilities, without losing its digits to the subtraction
    smaller = np.minimum(counts[outer], 1 / unit - counts[outer]) * unit
    root = np.sqrt(-np.log(smaller))
    tail = np.where(root <= 5, _ratio(_TAIL, root - 1.6), _ratio(_FAR_TAIL, root - 5))
    result[outer] = np.copysign(tail, centred[outer])
    return result


def _ratio(
    polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the quotient of two polynomials, by Horner's rule."""
    upper, lower = (np.full_like(x, terms[0]) for terms in polynomials)
    for a, b in zip(polynomials[0][1:], polynomials[1][1:], strict=True):
        upper, lower = upper * x + a, lower * x + b
    quotient: NDArray[np.float64] = upper / lower
    return quotient
