"""batch_statistics: mean and biased variance of v = acc * multiplier + bias."""

import pytest
import torch

from ops import layouts
from ops.chains import SHAPES, random_chain


def check(ops, chain):
    mean, variance = ops.batch_statistics(chain.acc, chain.multiplier, chain.bias, axis=chain.axis)
    v = torch.from_numpy(chain.value()).movedim(chain.axis, -1).reshape(-1, mean.numel()).double()
    rows = v.shape[0]
    distance = (v - v[0]).abs()
    # With u = 2^-24: a difference to the first row errs by u, its square by 3 u, and 16 float
    # additions by 15 u of the sum of magnitudes. So the mean errs by 16 u of the mean distance, its
    # square by twice that times the mean distance, at most 32 u of the mean squared distance, and
    # the mean of squares by 18 u of that; one more u covers the second order. The double sums
    # above add 2^-53 of the magnitudes for each row, and each result is rounded once.
    tolerance = v.mean(0).abs() * 2**-24 + 17 * 2**-24 * distance.mean(0)
    tolerance += rows * 2**-52 * v.abs().amax(0)
    assert ((mean.double() - v.mean(0)).abs() <= tolerance).all()
    expected = v.var(0, unbiased=False)
    tolerance = expected * 2**-24 + 51 * 2**-24 * (distance**2).mean(0)
    tolerance += rows * 2**-50 * distance.amax(0) ** 2
    assert ((variance.double() - expected).abs() <= tolerance).all()
    assert mean.shape == variance.shape == (chain.acc.shape[chain.axis],)
    return mean, variance


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("plain", [False, True])
def test_shapes(ops, shape, axis, plain):
    check(ops, random_chain(shape, axis, plain=plain))


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_memory_orders(ops, layout):
    chain = random_chain((3, 24, 6, 4), 1)
    chain.acc = layouts.lay_out(chain.acc, layout)
    check(ops, chain)


def test_a_large_mean_does_not_cancel(ops):
    """Deviation 1 at mean 2^22: a float32 sum of squares has lost every bit of the variance."""
    chain = random_chain((64, 8, 9, 9), 1, plain=True)
    chain.acc = torch.randn(chain.acc.shape).round() + 2**22
    _, variance = check(ops, chain)
    assert ((variance > 0.8) & (variance < 1.4)).all()


def test_constant_channel(ops):
    _, variance = check(ops, random_chain((5, 3), 1, plain=True)), None
    chain = random_chain((5, 3), 1)
    chain.acc = torch.full((5, 3), 7.0)
    mean, variance = check(ops, chain)
    assert variance.tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(8, 24, 40, 40), (3000, 10), (2, 512, 9, 9)])
def test_thread_count_does_not_matter(ops, shape):
    chain, results = random_chain(shape, 1), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.batch_statistics(chain.acc, chain.multiplier, chain.bias, axis=1))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_no_rows_give_nan_and_nan_stays_in_its_channel(ops):
    mean, variance = ops.batch_statistics(torch.zeros(0, 3), None, None, axis=1)
    assert mean.isnan().all() and variance.isnan().all()
    acc = torch.randn(20, 3)
    acc[4, 1] = float("nan")
    mean, variance = ops.batch_statistics(acc, None, None, axis=1)
    assert mean.isnan().tolist() == variance.isnan().tolist() == [False, True, False]


def test_errors(ops):
    with pytest.raises(
        ValueError, match="batch_statistics: multiplier: expected 3 elements .* got 2"
    ):
        ops.batch_statistics(torch.zeros(2, 3), torch.ones(2), None, axis=1)
    with pytest.raises(ValueError, match="batch_statistics: acc: expected Float, got Int"):
        ops.batch_statistics(torch.zeros(2, 3).int(), None, None, axis=1)
