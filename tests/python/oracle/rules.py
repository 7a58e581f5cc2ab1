"""Rules 1-5, 7-9 of docs/numerics.md on numpy arrays.

Every float is np.float32: numpy (NEP 50) keeps float32 op float32 in float32 and rounds each
operation once to nearest-even; it never contracts a·b + c across two calls.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from .container import require

F = np.float32
ZERO, ONE, THREE, SIX = F(0), F(1), F(3), F(6)
# float32 has the nearest value to 1/6 whether or not it is reached through float64: the 29 bits
# that float64 has more are 0101..., far from a tie.
SIXTH = F(1 / 6)
SCALE_MIN, SCALE_MAX = F(2.0**-40), F(2.0**100)


@dataclass(frozen=True)
class Format:
    """Rule 1: `u<b>` unsigned, `s<b>` signed, `n<b>` signed narrow."""

    kind: str
    bits: int

    @staticmethod
    def parse(text: str) -> Format:
        """Read the `format` of a value or the `weight_format` of a node."""
        require(
            isinstance(text, str) and re.fullmatch("[usn][2-8]", text) is not None,
            f"format: u, s or n and 2 to 8 bits are expected, got {text!r}",
        )
        return Format(text[0], int(text[1]))

    @property
    def qmin(self) -> int:
        """Rule 1: the lowest code."""
        half = 2 ** (self.bits - 1)
        return {"u": 0, "s": -half, "n": 1 - half}[self.kind]

    @property
    def qmax(self) -> int:
        """Rule 1: the highest code."""
        return 2**self.bits - 1 if self.kind == "u" else 2 ** (self.bits - 1) - 1

    @property
    def dtype(self) -> type:
        """The storage type of a code."""
        return np.uint8 if self.kind == "u" else np.int8


def to_float(integers: np.ndarray) -> np.ndarray:
    """`float(n)`.

    int64 -> float32 is one C conversion (cvtsi2ss), rounded once to nearest-even and not through
    float64: test_int64_to_float32_rounds_once has a number on which the two differ.
    """
    return np.asarray(integers, np.int64).astype(F)


def rounded(x: np.ndarray, scale: np.float32, zero_point: int) -> np.ndarray:
    """`r` of rule 2: np.rint rounds ties to even."""
    inverse = ONE / F(scale)
    return np.rint(np.asarray(x, F) * inverse + F(zero_point))


def quantize(x: np.ndarray, scale: np.float32, zero_point: int, form: Format) -> np.ndarray:
    """Rule 2. Codes are int64 inside the oracle, so that no later sum can wrap."""
    r = rounded(x, scale, zero_point)
    clipped = np.minimum(np.maximum(r, F(form.qmin)), F(form.qmax))
    return np.where(np.isnan(x), F(zero_point), clipped).astype(np.int64)


def dequantize(q: np.ndarray, scale: np.float32, zero_point: int) -> np.ndarray:
    """Rule 3."""
    return to_float(q - zero_point) * F(scale)


def mask(x: np.ndarray, scale: np.float32, zero_point: int, form: Format) -> np.ndarray:
    """Rule 4; a comparison with NaN is false."""
    r = rounded(x, scale, zero_point)
    return (F(form.qmin) <= r) & (r <= F(form.qmax))


def bounded(scale: np.float32, power_of_two: bool = False) -> np.float32:
    """The end of rule 5: a scale between 2^-40 and 2^100, raised to a power of two."""
    if power_of_two and 0 < scale < np.inf:
        mantissa, exponent = math.frexp(float(scale))
        # log2 is read as exact: a float log2 of 1 + 2^-23 times a power would lose the fraction.
        scale = F(math.ldexp(1.0, exponent - (mantissa == 0.5)))
    return SCALE_MIN if np.isnan(scale) else min(max(scale, SCALE_MIN), SCALE_MAX)


def parameters(
    low: float, high: float, form: Format, symmetric: bool, power_of_two: bool = False
) -> tuple[np.float32, int]:
    """Rule 5, for ranges that are numbers; the documents do not say what a NaN range gives."""
    lo, hi = min(F(low), ZERO), max(F(high), ZERO)
    if not symmetric:
        scale = (hi - lo) / F(form.qmax - form.qmin)
    elif form.kind == "u":
        require(not lo < 0, f"symmetric unsigned: lo >= 0 is needed, got {lo}")
        scale = hi / F(form.qmax)
    else:
        scale = max(-lo, hi) / F(form.qmax)
    scale = bounded(scale, power_of_two)
    if symmetric:
        return scale, 0
    zero_point = np.rint(F(form.qmin) - lo / scale)
    return scale, int(min(max(zero_point, F(form.qmin)), F(form.qmax)))


def channels(vector: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A vector shaped to broadcast along `axis` of a tensor of `rank` axes."""
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def rescale(
    x: np.ndarray, multiplier: np.ndarray, bias: np.ndarray | None, axis: int
) -> np.ndarray:
    """Rules 7 and 9: the product is rounded, then the sum; no bias, no addition."""
    product = x * channels(multiplier, x.ndim, axis)
    return product if bias is None else product + channels(bias, x.ndim, axis)


def fold_batch_norm(
    product: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Rule 9: (`m`, `bias`) of a layer with scale_x·scale_w = `product`; all float32."""
    g = gamma * (ONE / np.sqrt(variance + F(eps)))
    return product * g, beta + (bias - mean) * g


def clamp(v: np.ndarray, lo: np.float32, hi: np.float32) -> np.ndarray:
    """Rule 8; both comparisons are false for NaN, which passes."""
    t = np.where(v < lo, lo, v)
    return np.where(t > hi, hi, t)


def activation(
    v: np.ndarray, kind: str, p0: float, p1: float, slope: np.ndarray | None
) -> np.ndarray:
    """Rule 8. clamp(p0, p1); leaky_relu with p0, or with `slope` along axis 1."""
    if kind == "relu":
        return np.where(v < ZERO, ZERO, v)
    if kind == "clamp":
        return clamp(v, F(p0), F(p1))
    if kind == "leaky_relu":
        p = F(p0) if slope is None else channels(slope, v.ndim, 1)
        return np.where(v < ZERO, v * p, v)
    inner = clamp(v + THREE, ZERO, SIX)
    if kind == "hardswish":
        return (v * inner) * SIXTH
    require(kind == "hardsigmoid", f"activation: unknown kind {kind!r}")
    return inner * SIXTH
