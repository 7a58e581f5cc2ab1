"""Rule 6: exact accumulators of conv, transposed conv and linear.

Products run through float64 BLAS. Every partial sum is at most the worst case of the layer,
which `load` holds to 2^31 - 1 < 2^53, so each one is an integer that float64 represents exactly
and the order of summation does not matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .container import require
from .rules import Format


def worst_case(weight: np.ndarray, transposed: bool, groups: int, zp: int, form: Format) -> int:
    """The largest Σ|q_w|·max(qmax − zp_x, zp_x − qmin) over the output channels.

    For a transposed convolution the sum has all taps of the output channel: [C, K/groups, …].
    """
    magnitude = np.abs(weight.astype(np.int64))
    if transposed:
        grouped = magnitude.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        sums = grouped.sum(axis=(1, 3))
    else:
        sums = magnitude.reshape(weight.shape[0], -1).sum(axis=1)
    return int(sums.max(initial=0)) * max(form.qmax - zp, zp - form.qmin)


def linear(centred: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[…,C] and [K,C] to int64 [...,K]."""
    product = np.matmul(centred.astype(np.float64), weight.astype(np.float64).T)
    return product.astype(np.int64)


def _strided(starts: Sequence[int], steps: Sequence[int], counts: Sequence[int]) -> tuple:
    spans = (slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, steps, counts))
    return (..., *spans)


def conv(
    centred: np.ndarray,
    weight: np.ndarray,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> np.ndarray:
    """[N,C,s…] and [K,C/groups,k…] to int64 [N,K,s…]; padding is centred zero."""
    kernel, batch, size = weight.shape[2:], centred.shape[0], centred.shape[2:]
    k_group, c_group = weight.shape[0] // groups, weight.shape[1]
    out = [
        (i + 2 * p - d * (k - 1) - 1) // s + 1
        for i, p, d, k, s in zip(size, padding, dilation, kernel, stride)
    ]
    require(min(out) > 0, f"conv: the window {kernel} does not fit the input {size}")
    pads = [(0, 0), (0, 0), *((p, p) for p in padding)]
    x = np.pad(centred.astype(np.float64), pads)
    w = weight.astype(np.float64).reshape(groups, k_group, c_group, *kernel)
    acc = np.zeros((batch, groups, k_group, int(np.prod(out))))
    for tap in itertools.product(*map(range, kernel)):
        starts = [t * d for t, d in zip(tap, dilation)]
        patch = x[_strided(starts, stride, out)].reshape(batch, groups, c_group, -1)
        acc += np.matmul(w[(slice(None),) * 3 + tap], patch)
    return acc.reshape(batch, -1, *out).astype(np.int64)


def conv_transposed(
    centred: np.ndarray,
    weight: np.ndarray,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> np.ndarray:
    """[N,C,s…] and [C,K/groups,k…] to int64 [N,K,s…]."""
    kernel, size, batch = weight.shape[2:], centred.shape[2:], centred.shape[0]
    c_group, k_group = weight.shape[0] // groups, weight.shape[1]
    full = [(i - 1) * s + d * (k - 1) + 1 for i, s, d, k in zip(size, stride, dilation, kernel)]
    out = [f - 2 * p + o for f, p, o in zip(full, padding, output_padding)]
    require(min(out) > 0, f"conv: transposed: the output size {out} is not positive")
    x = centred.astype(np.float64).reshape(batch, groups, c_group, -1)
    w = weight.astype(np.float64).reshape(groups, c_group, k_group, *kernel)
    # output_padding may reach past what the kernels write: those outputs have acc = 0.
    length = [max(f, p + o) for f, p, o in zip(full, padding, out)]
    acc = np.zeros((batch, groups * k_group, *length))
    for tap in itertools.product(*map(range, kernel)):
        taps = np.swapaxes(w[(slice(None),) * 3 + tap], 1, 2)
        starts = [t * d for t, d in zip(tap, dilation)]
        product = np.matmul(taps, x).reshape(batch, -1, *size)
        acc[_strided(starts, stride, size)] += product
    window = tuple(slice(p, p + o) for p, o in zip(padding, out))
    return acc[(..., *window)].astype(np.int64)
