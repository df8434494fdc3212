"""Streams of a key: separate, reproducible on every machine, and of the stated distribution."""

import hashlib
import statistics

import numpy as np
import pytest
from scipy import stats

from anonymizer.keystream import (
    GAUSSIAN_STEP,
    key_bits,
    key_gaussian,
    normal_quantile,
    stream,
)

VECTORS = {  # SHA-256 of 4096 values as little-endian int16, purpose "vector"
    bytes(32): "dd0de528294061dc38ac87bded8b81e8837059570338b867869491ee7aa0bc49",
    bytes(range(32)): "055028eda20d73c58f2a0ed26522eb6769c2ecc78f2fa6f848f840053cd43207",
    b"\xff" * 32: "d503150e0e3309b155892a987411f0464fc41062c4ea35d041e4b66ba2b6629a",
}


@pytest.mark.parametrize(("key", "expected"), VECTORS.items(), ids=["zeros", "counting", "ones"])
def test_normal_values_are_those_of_the_published_vectors(key, expected):
    values = key_gaussian(key, 4096, "vector")
    assert hashlib.sha256(values.astype("<i2").tobytes()).hexdigest() == expected


def test_normal_values_follow_from_whole_numbers_alone():
    """The stream read as integers, and the quantile of Python's own library."""
    raw, normal = stream(bytes(32), 8 * 500, "vector"), statistics.NormalDist()
    counts = [int.from_bytes(raw[i : i + 8], "little") >> 12 for i in range(0, len(raw), 8)]
    expected = [round(normal.inv_cdf((n + 0.5) / 2**52) / GAUSSIAN_STEP) for n in counts]
    assert key_gaussian(bytes(32), 500, "vector").tolist() == expected


def test_quantile_is_finite_odd_and_right_at_its_ends_and_joints():
    joints = [0.5, *(n + 0.5 for n in (int(2**52 * 0.075), int(2**52 * 1.4e-11), 2**51 - 1))]
    counts = np.array([*joints, *(2**52 - np.array(joints))])
    found = normal_quantile(counts, 2.0**-52)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:4], -found[4:])
    expected = stats.norm.ppf(np.array(joints) * 2.0**-52)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-13)


def test_purposes_and_keys_have_streams_of_their_own():
    other = bytes(31) + b"\1"
    drawn = [key_bits(bytes(32), 4096, p) for p in ("a", "b")] + [key_bits(other, 4096, "a")]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        # a fair coin: 4096 tosses stray 32 from the half, six of those are never seen
        assert abs(int((drawn[i] != drawn[j]).sum()) - 2048) < 6 * 32


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_of_another_length_are_refused(length):
    with pytest.raises(ValueError, match=f"key of {length} bytes, expected 32"):
        stream(bytes(length), 8, "a")


@pytest.mark.slow
def test_normal_values_pass_kolmogorov_and_moments():
    """100 keys of a million values; 1 % of false alarms shared by all 300 looks (Bonferroni)."""
    count, keys = 1_000_000, 100
    level = 0.01 / (3 * keys)
    for number in range(keys):
        values = key_gaussian(number.to_bytes(32, "big"), count, "test") * GAUSSIAN_STEP
        # rounding to 2**-12 moves the distribution by half a step of density 0.4: far below 1/1000
        assert stats.kstest(values, "norm").pvalue > level
        assert 2 * stats.norm.sf(abs(values.mean()) * count**0.5) > level
        spread = (values.var() - 1) / (2 / count) ** 0.5
        assert 2 * stats.norm.sf(abs(spread)) > level
