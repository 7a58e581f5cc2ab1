"""Convolution and pooling windows: against the definition, by hand, and against torch."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from . import accumulate, pool
from .exact import nearest

F = np.float32


def direct_conv(x, w, stride, pad, dil, groups):
    """The definition, one multiplication at a time."""
    n, c, h, wd = x.shape
    k, cg, kh, kw = w.shape
    oh = (h + 2 * pad[0] - dil[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (wd + 2 * pad[1] - dil[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((n, k, oh, ow), np.int64)
    for b, o, i, j in np.ndindex(*out.shape):
        first = o // (k // groups) * cg
        for ci, a, e in itertools.product(range(cg), range(kh), range(kw)):
            row, column = i * stride[0] - pad[0] + a * dil[0], j * stride[1] - pad[1] + e * dil[1]
            if 0 <= row < h and 0 <= column < wd:
                out[b, o, i, j] += int(x[b, first + ci, row, column]) * int(w[o, ci, a, e])
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride, pad, dil", [((1, 1), (0, 0), (1, 1)), ((2, 3), (1, 2), (2, 1))])
def test_conv_is_the_direct_loop(groups, stride, pad, dil):
    random = np.random.default_rng(0)
    x = random.integers(-128, 256, (2, 4, 7, 6))
    w = random.integers(-127, 128, (8, 4 // groups, 3, 2))
    expected = direct_conv(x, w, stride, pad, dil, groups)
    assert np.array_equal(accumulate.conv(x, w, stride, pad, dil, groups), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_and_transposed_of_each_rank_against_torch(rank):
    # Integers far below 2^53 are exact in torch's float64, whatever the order of its sums.
    random = np.random.default_rng(rank)
    functional = torch.nn.functional
    straight = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    backward = (functional.conv_transpose1d, functional.conv_transpose2d,
                functional.conv_transpose3d)[rank - 1]  # fmt: skip
    size = (5, 6, 4)[:rank]
    x = random.integers(-255, 256, (2, 4, *size))
    for groups, s, p, d, o in [(1, 1, 0, 1, 0), (2, 2, 1, 1, 1), (4, 3, 1, 2, 2), (2, 1, 2, 3, 2)]:
        w = random.integers(-127, 128, (4, 6 // 2, *(3, 2, 3)[:rank]))
        many = [[n] * rank for n in (s, p, d, o)]
        tensors = torch.tensor(x, dtype=torch.float64), torch.tensor(w, dtype=torch.float64)
        expected = backward(*tensors, None, s, p, o, groups, d)
        result = accumulate.conv_transposed(x, w, *many, groups)
        assert np.array_equal(result, expected.numpy())
        w = random.integers(-127, 128, (8, 4 // groups, *(2, 1, 2)[:rank]))
        tensors = tensors[0], torch.tensor(w, dtype=torch.float64)
        expected = straight(*tensors, None, s, p, d, groups)
        assert np.array_equal(accumulate.conv(x, w, *many[:3], groups), expected.numpy())


def test_transposed_by_hand():
    # x = [1, 2], w = [1, 10, 100], stride 2: 1 10 100+2 20 200, then one of output padding.
    x, w = np.array([[[1, 2]]]), np.array([[[1, 10, 100]]])
    result = accumulate.conv_transposed(x, w, [2], [0], [1], [1], 1)
    assert result.tolist() == [[[1, 10, 102, 20, 200, 0]]]
    result = accumulate.conv_transposed(x, w, [2], [1], [1], [1], 1)
    assert result.tolist() == [[[10, 102, 20, 200]]]


WINDOWS = [
    (size, kernel, stride, pad, ceil)
    for size, kernel, stride, pad, ceil in itertools.product(
        [(5, 7), (6, 4)],
        [(2, 3), (3, 3)],
        [(1, 1), (2, 3), (3, 2)],
        [(0, 0), (1, 1)],
        [False, True],
    )
]


@pytest.mark.parametrize("size, kernel, stride, pad, ceil", WINDOWS)
def test_pool_windows_are_those_of_torch(size, kernel, stride, pad, ceil):
    random = np.random.default_rng(3)
    x = random.integers(-255, 256, (2, 3, *size))
    tensor = torch.tensor(x, dtype=torch.float64)
    functional = torch.nn.functional
    for dilation in ((1, 1), (2, 1)):
        expected = functional.max_pool2d(tensor, kernel, stride, pad, dilation, ceil)
        result = pool.max_pool(x, -255, kernel, stride, pad, dilation, ceil)
        assert np.array_equal(result, expected.numpy())
    for count, override in itertools.product([False, True], [0, 5]):
        expected = functional.avg_pool2d(tensor, kernel, stride, pad, ceil, count, override or None)
        result = pool.avg_pool(x, F(1), kernel, stride, pad, ceil, count, override)
        # |sum| < 2^24 is exact, 1/n and the product round once each (2^-24), torch's float64
        # quotient once (2^-53): below 2^-22.
        np.testing.assert_allclose(result, expected.numpy(), rtol=2.0**-22, atol=0)


def test_average_by_hand():
    # Windows of 2 with stride 2 and padding 1 on [1, 2, 4], ceil_mode: (0 1) (2 4), then one at
    # 3 that starts right of the input, dropped.
    x = np.array([[1, 2, 4]])
    args = ([2], [2], [1])
    third, half = F(1) / F(3), F(0.5)
    assert pool.avg_pool(x, F(1), *args, True, True, 0).tolist() == [[0.5, 3]]
    assert pool.avg_pool(x, F(1), *args, True, False, 0).tolist() == [[1, 3]]
    assert pool.avg_pool(x, F(1), *args, True, True, 4).tolist() == [[0.25, 1.5]]
    # 6·fl(fl(0.1)/3) rounds after the division, not 6·0.1/3.
    w = nearest(Fraction(float(F(0.1))) / 3)
    result = pool.mean(np.array([[1, 2, 3]]), F(0.1), [1], False)
    assert result.tolist() == [float(nearest(6 * Fraction(float(w))))]
    result = pool.adaptive_avg_pool(np.array([[1, 2, 3]]), F(0.1), [1])
    assert result.tolist() == [[float(nearest(6 * Fraction(float(w))))]]
    # Adaptive 3 -> 2: [0, 2) and [1, 3).
    assert pool.adaptive_avg_pool(x, F(1), [2]).tolist() == [[F(3) * half, F(6) * half]]
    assert pool.mean(x, F(1), [1], True).tolist() == [[F(7) * third]]


@pytest.mark.parametrize("size, out", [((7, 5), (3, 2)), ((4, 4), (7, 1)), ((6, 6), (6, 4))])
def test_adaptive_windows_are_those_of_torch(size, out):
    x = np.random.default_rng(4).integers(-255, 256, (2, 3, *size))
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x, dtype=torch.float64), out)
    result = pool.adaptive_avg_pool(x, F(1), out)
    # The bound of test_pool_windows_are_those_of_torch.
    np.testing.assert_allclose(result, expected.numpy(), rtol=2.0**-22, atol=0)
