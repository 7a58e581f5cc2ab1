"""Slow references, written from docs/numerics.md.

numpy's float32 arithmetic rounds every operation once to nearest-even, as the contract asks;
integers are int64, sums float64.
"""

import math

import numpy as np
import torch

F = np.float32

FORMATS = [(bits, kind) for bits in range(2, 9) for kind in ("unsigned", "signed", "narrow")]


def code_range(bits, kind):
    if kind == "unsigned":
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + (kind == "narrow"), 2 ** (bits - 1) - 1


def _channels(values, rank, axis):
    """A per-channel vector (or a single value) shaped to broadcast along ``axis``."""
    values = np.asarray(values).reshape(-1)
    if values.size == 1:
        return values.reshape([1] * rank)
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape)


def unclamped(x, scale, zero_point, axis):
    """r of rule 2."""
    inverse = F(1) / _channels(scale, x.ndim, axis).astype(F)
    with np.errstate(all="ignore"):
        return np.rint(x.astype(F) * inverse + _channels(zero_point, x.ndim, axis).astype(F))


def quantize(x, scale, zero_point, axis, quant_min, quant_max):
    """Rule 2, as int64 codes."""
    r = unclamped(x, scale, zero_point, axis)
    zero = np.broadcast_to(_channels(zero_point, x.ndim, axis), x.shape)
    limited = np.minimum(np.maximum(r, F(quant_min)), F(quant_max))
    return np.where(np.isnan(r), zero, np.nan_to_num(limited)).astype(np.int64)


def dequantize(codes, scale, zero_point, axis):
    """Rule 3."""
    centred = codes.astype(np.int64) - _channels(zero_point, codes.ndim, axis).astype(np.int64)
    return centred.astype(F) * _channels(scale, codes.ndim, axis).astype(F)


def mask(x, scale, zero_point, axis, quant_min, quant_max):
    """Rule 4."""
    r = unclamped(x, scale, zero_point, axis)
    with np.errstate(invalid="ignore"):
        return (r >= F(quant_min)) & (r <= F(quant_max))


def qparams(lo, hi, quant_min, quant_max, symmetric, power_of_two):
    """Rule 5 for one range."""
    lo, hi = min(F(lo), F(0)), max(F(hi), F(0))
    if symmetric:
        magnitude = max(-lo, hi) if quant_min < 0 else hi
        scale = F(magnitude) / F(quant_max)
    else:
        with np.errstate(over="ignore"):
            width = F(hi - lo)
        scale = width / (F(quant_max) - F(quant_min))
    if math.isnan(scale) or scale < 2.0**-40:
        scale = F(2.0**-40)
    scale = min(scale, F(2.0**100))
    if power_of_two:
        # Exact: the logarithm of a float32 that is a power of two is an integer in float64.
        exponent = math.frexp(float(scale))
        scale = F(math.ldexp(1.0, exponent[1] - (exponent[0] == 0.5)))
        scale = min(max(scale, F(2.0**-40)), F(2.0**100))
    if symmetric:
        return scale, 0
    zero_point = np.rint(F(quant_min) - lo / scale)
    return scale, int(min(max(zero_point, F(quant_min)), F(quant_max)))


SIXTH = F(1) / F(6)


def activate(v, name, p0=0.0, p1=0.0):
    """Rule 8. p0 may be an array that broadcasts (PReLU)."""
    v = v.astype(F)
    p0 = np.asarray(p0, dtype=F)
    gate = np.minimum(np.maximum(v + F(3), F(0)), F(6))
    if name == "relu":
        return np.where(v < 0, F(0), v)
    if name == "clamp":
        low = np.where(v < p0, p0, v)
        return np.where(low > F(p1), F(p1), low)
    if name == "leaky_relu":
        return np.where(v < 0, v * p0, v)
    if name == "hardswish":
        return (v * gate) * SIXTH
    if name == "hardsigmoid":
        return gate * SIXTH
    return v


ACTIVATIONS = ["none", "relu", "clamp", "leaky_relu", "hardswish", "hardsigmoid"]
PARAMETERS = {"clamp": (-0.5, 1.25), "leaky_relu": (0.125, 0.0)}


def value(acc, multiplier, bias, axis):
    """Rule 7; None: no operation."""
    v = acc.astype(F)
    if multiplier is not None:
        v = v * _channels(multiplier, v.ndim, axis).astype(F)
    if bias is not None:
        v = v + _channels(bias, v.ndim, axis).astype(F)
    return v


def numbers(tensor):
    return tensor.detach().contiguous().numpy()


def same_bits(actual, expected):
    """Equal shape, type and bytes, zeros of either sign and all NaN being one value."""
    actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
    assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    differs = actual != expected
    if actual.is_floating_point():
        differs &= ~(actual.isnan() & expected.isnan())
    assert not differs.any(), f"{int(differs.sum())} of {differs.numel()} elements differ"
