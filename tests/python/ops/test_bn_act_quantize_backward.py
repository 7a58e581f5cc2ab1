"""bn_act_quantize_backward against autograd of the plain float64 composition."""

import copy
import dataclasses

import pytest
import torch

from ops import reference
from ops.chains import RESIDUALS, quantizer, random_chain
from ops.reference import ACTIVATIONS, numbers

EPS = 2.0**-24  # a float32 rounding
KINKS = {
    "relu": [0.0],
    "clamp": [-0.5, 1.25],
    "leaky_relu": [0.0],
    "hardswish": [-3.0, 3.0],
    "hardsigmoid": [-3.0, 3.0],
}


def activate64(v, chain, slope):
    if chain.activation == "relu":
        return v.relu()
    if chain.activation == "clamp":
        return v.clamp(chain.p0, chain.p1)
    if chain.activation == "leaky_relu":
        return torch.where(v < 0, v * slope, v)
    if chain.activation == "hardswish":
        return v * (v + 3).clamp(0, 6) / 6
    if chain.activation == "hardsigmoid":
        return (v + 3).clamp(0, 6) / 6
    return v


def along(values, chain):
    return values.double().reshape([-1 if a == chain.axis else 1 for a in range(chain.acc.dim())])


def rows(x, chain):
    return x.movedim(chain.axis, -1).reshape(-1, x.shape[chain.axis])


@dataclasses.dataclass
class Case:
    """A batch norm with its chain. multiplier, bias: folded from the statistics of this batch."""

    chain: object
    grad: torch.Tensor
    scale: torch.Tensor | None
    zero: torch.Tensor | None
    ends: tuple
    xhat_multiplier: torch.Tensor
    xhat_bias: torch.Tensor
    gain: torch.Tensor

    def passes(self):
        """The straight-through mask, of the float32 forward."""
        if self.scale is None:
            return torch.ones(self.chain.acc.shape, dtype=torch.bool)
        forward = self.chain.result()
        return torch.from_numpy(
            reference.mask(
                forward, numbers(self.scale), numbers(self.zero), self.chain.axis, *self.ends
            )
        )

    def run(self, ops, through_statistics, xhat=True, residual_grad=False, gain=True, **learned):
        return ops.bn_act_quantize_backward(
            self.grad,
            *self.chain.tensors(),
            self.scale,
            self.zero,
            self.xhat_multiplier if xhat else None,
            self.xhat_bias if xhat else None,
            self.gain if gain else None,
            **self.chain.keywords(),
            quant_min=self.ends[0],
            quant_max=self.ends[1],
            through_statistics=through_statistics,
            residual_grad=residual_grad,
            **learned,
        )


def make_case(shape, axis, activation, residual=None, quantized=True, prelu=False):
    chain = random_chain(shape, axis, activation, residual, prelu, plain=True)
    gamma, beta = torch.randn(shape[axis]), torch.randn(shape[axis]) * 0.5
    acc = rows(chain.acc, chain).double()
    deviation = (acc.var(0, unbiased=False) + 1e-5).sqrt()
    xhat_multiplier, xhat_bias = (1 / deviation).float(), (-acc.mean(0) / deviation).float()
    chain.multiplier = gamma * xhat_multiplier
    chain.bias = beta + gamma * xhat_bias
    grad = torch.randn(shape)
    value = torch.from_numpy(chain.value())
    for kink in KINKS.get(activation, []):
        grad[(value - kink).abs() < 1e-3] = 0  # the two sides' slopes differ there
    scale, zero, ends = quantizer(shape[axis] if prelu else 1)
    if not quantized:
        scale = zero = None
    gain = (gamma / deviation).float()
    return Case(chain, grad, scale, zero, ends, xhat_multiplier, xhat_bias, gain)


def reference_gradients(case, through_statistics):
    """d acc / gain-of-acc, d residual, d beta, d gamma, d slope, in float64."""
    chain = case.chain
    acc = chain.acc.double().requires_grad_()
    axes = [a for a in range(acc.dim()) if a != chain.axis]
    if through_statistics:
        mean = acc.mean(axes, keepdim=True)
        deviation = (acc.var(axes, unbiased=False, keepdim=True) + 1e-5).sqrt()
        xhat = (acc - mean) / deviation
    else:
        xhat = acc * along(case.xhat_multiplier, chain) + along(case.xhat_bias, chain)
    gamma64 = (case.gain.double() / case.xhat_multiplier.double()).requires_grad_()
    beta64 = chain.bias.double() - gamma64.detach() * case.xhat_bias.double()
    beta64 = beta64.requires_grad_()
    v = xhat * along_leaf(gamma64, chain) + along_leaf(beta64, chain)
    residual = torch.zeros_like(acc)
    if chain.residual is not None:
        base = dataclasses.replace(chain, residual=None)
        residual = (
            torch.from_numpy(chain.value()).double() - torch.from_numpy(base.value()).double()
        )
    residual.requires_grad_()
    slope = (
        along(chain.slope, chain) if chain.slope is not None else torch.tensor(chain.p0).double()
    )
    slope = slope.clone().requires_grad_()
    out = activate64(v + residual, chain, slope)
    out.backward(torch.where(case.passes(), case.grad.double(), 0.0))
    slope_grad = slope.grad.reshape(-1) if slope.grad is not None else None
    return acc.grad, residual.grad, beta64.grad, gamma64.grad, slope_grad


def along_leaf(values, chain):
    return values.reshape([-1 if a == chain.axis else 1 for a in range(chain.acc.dim())])


def bounds(case, through_statistics):
    """Error bounds of (d_value, dy, sum of dy, sum of dy * x_hat).

    dy is grad times a slope: 4 roundings, and the slope of hardswish (v/3 + 1/2) carries v's own
    error, 5 roundings of its terms, of which 2 are those of the float32 multiplier and bias. x_hat
    has 4 roundings of the same kind; each later operation adds one, which makes 8; a sum adds 16
    terms in float before it goes on in double.
    """
    chain = case.chain
    terms = (chain.acc.double() * along(chain.multiplier, chain)).abs()
    terms = terms + along(chain.bias, chain).abs() + 3
    if chain.residual is not None:
        terms = terms + torch.from_numpy(chain.value()).double().abs()
    sensitive = terms / 3 if chain.activation == "hardswish" else torch.ones(())
    dy = case.grad.double().abs() * (1.5 + sensitive)
    xhat = (chain.acc.double() * along(case.xhat_multiplier, chain)).abs()
    xhat = xhat + along(case.xhat_bias, chain).abs()
    sum_dy, sum_dy_xhat = rows(dy, chain).sum(0), rows(dy * xhat, chain).sum(0)
    d_value = dy
    if through_statistics:
        n = chain.acc.numel() / chain.acc.shape[chain.axis]
        d_value = dy + along(sum_dy / n, chain) + xhat * along(sum_dy_xhat / n, chain)
    d_value = d_value * along(case.gain, chain).abs()
    return [24 * EPS * bound for bound in (d_value, dy, sum_dy, sum_dy_xhat)]


def close(actual, expected, bound):
    error = (actual.double() - expected).abs()
    assert (error <= bound).all(), (error / bound).max()


SHAPES = [((6, 24, 5, 7), 1), ((9, 64, 4, 4), 1), ((40, 3), 1), ((2, 5, 33), 2), ((4, 16, 11), 1)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("through_statistics", [True, False])
def test_against_autograd(ops, activation, residual, quantized, through_statistics):
    for shape, axis in SHAPES:
        case = make_case(shape, axis, activation, residual, quantized)
        actual = case.run(ops, through_statistics, residual_grad=True)
        expected = reference_gradients(case, through_statistics)
        bound = bounds(case, through_statistics)
        close(actual[0], expected[0], bound[0])
        close(actual[1], expected[1], bound[1])
        close(actual[2], expected[2], bound[2])
        close(actual[3], expected[3], bound[3])
        assert actual[4].shape == (0,)
        for full in actual[:2]:
            assert full.movedim(axis, -1).is_contiguous() and full.dtype == torch.float32


@pytest.mark.parametrize("residual", [None, torch.float32])
@pytest.mark.parametrize("quantized", [True, False])
def test_slope_of_prelu(ops, residual, quantized):
    case = make_case((6, 24, 5, 7), 1, "leaky_relu", residual, quantized, prelu=True)
    actual, expected = case.run(ops, True), reference_gradients(case, True)
    value = torch.from_numpy(case.chain.value()).double().abs()
    terms = (case.chain.acc.double() * along(case.chain.multiplier, case.chain)).abs()
    terms = terms + along(case.chain.bias, case.chain).abs() + value
    bound = 8 * EPS * rows(case.grad.double().abs() * terms, case.chain).sum(0)
    close(actual[4], expected[4], bound)
    close(actual[0], expected[0], bounds(case, True)[0])


def test_clipped_elements_get_nothing(ops):
    case = make_case((6, 24, 5, 7), 1, "none")
    passed = case.passes()
    assert 0.02 < (~passed).double().mean() < 0.98
    d_value = case.run(ops, False, gain=False)[0]
    assert torch.equal(d_value, torch.where(passed, case.grad, 0.0))


def test_absent_xhat_and_gain(ops):
    case = make_case((6, 24, 5, 7), 1, "relu")
    d_value, d_residual, sum_dy, sum_dy_xhat, *_ = case.run(ops, False, xhat=False, gain=False)
    assert d_residual.shape == (0,) and not sum_dy_xhat.any()
    dy = rows(d_value, case.chain).double()
    # At most 16 terms are added in float (15 roundings), then in double; the result is rounded.
    close(sum_dy, dy.sum(0), 16 * EPS * dy.abs().sum(0))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(8, 24, 40, 40), (3000, 10), (2, 512, 9, 9)])
def test_thread_count_does_not_matter(ops, threads, shape):
    case = make_case(shape, 1, "hardswish")
    torch.set_num_threads(1)
    expected = case.run(ops, True)
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(case.run(ops, True), expected, strict=True))


def test_memory_orders_and_half_precision_gradients(ops):
    case = make_case((6, 24, 5, 7), 1, "relu")
    case.grad = case.grad.bfloat16().float()
    expected = case.run(ops, True)
    case.grad = case.grad.bfloat16()
    case.chain.acc = case.chain.acc.contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(case.run(ops, True), expected, strict=True))


def test_empty(ops):
    case = make_case((6, 4), 1, "relu")
    case.grad, case.chain.acc = case.grad[:0], case.chain.acc[:0]
    d_value, _, sum_dy, sum_dy_xhat, *_ = case.run(ops, True)
    assert d_value.shape == (0, 4) and sum_dy.tolist() == sum_dy_xhat.tolist() == [0] * 4


def test_errors(ops):
    case = make_case((6, 4), 1, "relu")
    name = "bn_act_quantize_backward: "
    with pytest.raises(
        ValueError, match=name + "xhat_multiplier: expected a tensor with through_s"
    ):
        case.run(ops, True, xhat=False)
    broken = dataclasses.replace(case, zero=None)
    with pytest.raises(ValueError, match=name + "scale, zero_point: expected both or neither"):
        broken.run(ops, True)
    broken = dataclasses.replace(case, xhat_bias=None)
    with pytest.raises(ValueError, match=name + "xhat_multiplier, xhat_bias: expected both or"):
        broken.run(ops, True)
    broken = dataclasses.replace(case, grad=case.grad[:3])
    with pytest.raises(ValueError, match=name + r"grad: expected the shape \[6, 4\], got \[3, 4\]"):
        broken.run(ops, True)
    broken = dataclasses.replace(case, gain=torch.ones(3))
    with pytest.raises(ValueError, match=name + "gain: expected 4 elements .* got 3"):
        broken.run(ops, True)


@pytest.mark.parametrize("channels", [64, 24, 20, 1])
@pytest.mark.parametrize("residual", [None, torch.uint8])
def test_large_tensors_are_written_past_the_caches(ops, channels, residual):
    """From 2^19 elements on the stores are others; the halves stay below."""
    height = 2**19 // (2 * channels * 64) + 1
    case = make_case((2, channels, height, 64), 1, "relu", residual)
    wanted = {"residual_grad": residual is not None}
    whole = case.run(ops, False, **wanted)
    assert case.chain.acc.numel() >= 2**19
    for part in range(2):
        half = copy.copy(case)
        half.chain = copy.copy(case.chain)
        half.grad = case.grad[part : part + 1]
        half.chain.acc = case.chain.acc[part : part + 1]
        if residual is not None:
            half.chain.residual = case.chain.residual[part : part + 1]
        found = half.run(ops, False, **wanted)
        assert torch.equal(found[0], whole[0][part : part + 1])
        if residual is not None:
            assert torch.equal(found[1], whole[1][part : part + 1])
