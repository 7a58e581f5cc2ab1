"""fold_batch_norm: rule 9."""

import itertools

import numpy as np
import pytest
import torch

from ops.reference import F, numbers, same_bits


def expected_of(multiplier, bias, gamma, beta, mean, variance, eps):
    m, b, g, be = (
        np.full(mean.numel(), otherwise, dtype=F) if t is None else numbers(t)
        for t, otherwise in ((multiplier, 1), (bias, 0), (gamma, 1), (beta, 0))
    )
    gain = g * (F(1) / np.sqrt(numbers(variance) + F(eps)))
    return m * gain, be + (b - numbers(mean)) * gain


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=4)))
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.0])
def test_every_combination_of_absent_tensors(ops, given, eps):
    optional = [torch.randn(67) if present else None for present in given]
    mean, variance = torch.randn(67), torch.rand(67) + 0.01
    actual = ops.fold_batch_norm(*optional, mean, variance, eps=eps)
    expected = expected_of(*optional, mean, variance, eps)
    for a, e in zip(actual, expected, strict=True):
        same_bits(a, e)


def test_zero_gamma_is_an_ordinary_value(ops):
    zero, one = torch.zeros(2), torch.ones(2)
    multiplier, bias = ops.fold_batch_norm(one, one, zero, one, zero, zero, eps=1e-5)
    assert multiplier.tolist() == [0, 0] and bias.tolist() == [1, 1]


def test_the_sign_of_gamma_lives_in_the_multiplier(ops):
    one = torch.ones(1)
    multiplier, _ = ops.fold_batch_norm(one, None, -one, None, one, one, eps=0.0)
    assert multiplier.tolist() == [-1]


def test_errors(ops):
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(ValueError, match="fold_batch_norm: variance: expected 2 elements .* got 1"):
        ops.fold_batch_norm(None, None, None, None, two, one, eps=1e-5)
    with pytest.raises(ValueError, match="gamma: expected 2 elements .* got 1"):
        ops.fold_batch_norm(None, None, one, None, two, two, eps=1e-5)
    with pytest.raises(ValueError, match="eps: expected a number that is not negative, got -1"):
        ops.fold_batch_norm(None, None, None, None, two, two, eps=-1.0)
    with pytest.raises(ValueError, match=r"mean: expected one axis, got the shape \[1, 1\]"):
        ops.fold_batch_norm(None, None, None, None, one[None], one, eps=1e-5)
