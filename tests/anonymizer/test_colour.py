"""The sRGB curve against IEC 61966-2-1."""

import pytest
import torch

from anonymizer.colour import decode_srgb, encode_srgb


def test_known_values():
    linear = torch.tensor([0.0, 0.001, 0.0031308, 0.18, 0.5, 1.0], dtype=torch.float64)
    # IEC 61966-2-1, evaluated by hand to six figures
    expected = [0.0, 0.01292, 0.0404499, 0.461356, 0.735357, 1.0]
    assert encode_srgb(linear).tolist() == pytest.approx(expected, abs=1e-6)


def test_decoding_undoes_encoding():
    linear = torch.linspace(0, 1, 501, dtype=torch.float64)
    # the standard's two branches meet up to 3e-8
    torch.testing.assert_close(decode_srgb(encode_srgb(linear)), linear, rtol=0, atol=1e-7)


def test_gradient_is_finite_at_black_and_zero_outside():
    x = torch.tensor([0.0, -0.5, 1.5], requires_grad=True)
    encode_srgb(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([12.92, 0, 0])
