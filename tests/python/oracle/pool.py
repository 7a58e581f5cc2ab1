"""Rule 10: pooling. The windows are those of the torch operators."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .container import require
from .rules import to_float

Span = tuple[int, int]
Divisor = Callable[[tuple[int, ...], Sequence[Span]], int]


def output_size(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """The number of windows; ceil_mode drops a last one that starts right of the input."""
    room = size + 2 * pad - dilation * (kernel - 1) - 1 + (stride - 1 if ceil else 0)
    out = room // stride + 1
    if ceil and (out - 1) * stride >= size + pad:
        out -= 1
    require(out > 0, f"pool: kernel {kernel} does not fit the size {size}")
    return out


def _positions(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, shape))


def max_pool(
    codes: np.ndarray,
    qmin: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> np.ndarray:
    """Maximum over the positions of the window that lie in the input.

    A window without any (possible with dilation > 1) gives qmin, which is -inf under rule 2.
    """
    rank = len(kernel)
    size = codes.shape[codes.ndim - rank :]
    out = [output_size(*axis, ceil_mode) for axis in zip(size, kernel, stride, padding, dilation)]
    result = np.full((*codes.shape[: codes.ndim - rank], *out), qmin, np.int64)
    for at in _positions(out):
        index = []
        for o, i, k, s, p, d in zip(at, size, kernel, stride, padding, dilation):
            taps = [o * s - p + t * d for t in range(k)]
            index.append([t for t in taps if 0 <= t < i])
        if all(index):
            window = codes[(..., *np.ix_(*index))]
            result[(..., *at)] = window.max(axis=tuple(range(-rank, 0)))
    return result


def _averages(
    centred: np.ndarray, scale: np.float32, spans: Sequence[Sequence[Span]], divisor: Divisor
) -> np.ndarray:
    """`float(Σ(q − zp))·(scale/float(n))` for every combination of one span per axis."""
    rank = len(spans)
    out = [len(s) for s in spans]
    result = np.empty((*centred.shape[: centred.ndim - rank], *out), np.float32)
    for at in _positions(out):
        window = [spans[axis][o] for axis, o in enumerate(at)]
        part = centred[(..., *(slice(a, b) for a, b in window))]
        total = part.sum(axis=tuple(range(-rank, 0)), dtype=np.int64)
        weight = np.float32(scale) / np.float32(divisor(at, window))
        result[(..., *at)] = to_float(total) * weight
    return result


def avg_pool(
    centred: np.ndarray,
    scale: np.float32,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int,
) -> np.ndarray:
    """ATen's avg_pool: the padded window is cut at size + padding, and so is its count."""
    size = centred.shape[centred.ndim - len(kernel) :]
    padded: list[list[Span]] = []
    inside: list[list[Span]] = []
    for i, k, s, p in zip(size, kernel, stride, padding):
        starts = [o * s - p for o in range(output_size(i, k, s, p, 1, ceil_mode))]
        padded.append([(a, min(a + k, i + p)) for a in starts])
        inside.append([(max(a, 0), min(b, i)) for a, b in padded[-1]])

    def divisor(at: tuple[int, ...], window: Sequence[Span]) -> int:
        if divisor_override:
            return divisor_override
        if count_include_pad:
            window = [padded[axis][o] for axis, o in enumerate(at)]
        return math.prod(b - a for a, b in window)

    return _averages(centred, scale, inside, divisor)


def adaptive_avg_pool(centred: np.ndarray, scale: np.float32, output: Sequence[int]) -> np.ndarray:
    """Windows from floor(i·in/out) to ceil((i+1)·in/out)."""
    size = centred.shape[centred.ndim - len(output) :]
    spans = [[(o * i // n, -(-(o + 1) * i // n)) for o in range(n)] for i, n in zip(size, output)]
    return _averages(centred, scale, spans, lambda at, window: math.prod(b - a for a, b in window))


def mean(centred: np.ndarray, scale: np.float32, axes: Sequence[int], keepdim: bool) -> np.ndarray:
    """An average with n = the product of the reduced sizes."""
    require(len(axes) > 0, "mean: axes: at least one is expected")
    count = math.prod(centred.shape[axis] for axis in axes)
    total = centred.sum(axis=tuple(axes), keepdims=keepdim, dtype=np.int64)
    return to_float(total) * (np.float32(scale) / np.float32(count))
