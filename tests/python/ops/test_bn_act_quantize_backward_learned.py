"""bn_act_quantize_backward with a learned quantizer: rule 13 in the chain's own first pass."""

import copy
import dataclasses

import pytest
import torch

from ops import layouts
from ops.chains import RESIDUALS, quantizer
from ops.reference import ACTIVATIONS, same_bits
from ops.test_bn_act_quantize_backward import SHAPES, make_case
from ops.test_fake_quantize_learned import papers

PLAIN = 5  # results that do not depend on `learned`


def learn(case, ops, *arguments, clipped_only=False, **keywords):
    return case.run(ops, *arguments, **keywords, learned=True, clipped_only=clipped_only)


def in_two_steps(case, ops, through_statistics, residual_grad):
    """The quantizer's own backward on bn_act's value, then the chain's without a quantizer."""
    value = ops.bn_act(*case.chain.tensors(), **case.chain.keywords())
    axis = -1 if case.scale.numel() == 1 else case.chain.axis
    low, high = case.ends
    options = {"axis": axis, "quant_min": low, "quant_max": high, "grad_scale": 1.0}
    passed = ops.fake_quantize_learned_backward(
        case.grad, value, case.scale, case.zero.float(), **options
    )[0]
    alone = dataclasses.replace(case, grad=passed, scale=None, zero=None)
    return alone.run(ops, through_statistics, residual_grad=residual_grad)[:PLAIN]


def check_sums(case, found):
    """Against the papers' formulas on the value that the forward rounds, in float64.

    The value is the reference's, to the bit, so that the terms err as those of
    fake_quantize_learned_backward do and the sums have the same 16 float additions. u = 2^-24:
    1 / scale and its product with x err by 2 u of x / scale, and by as much of the difference to
    the code; that difference and its product with the gradient round once each, 16 float additions
    err by 15 u of the magnitudes, and one u is left for the second order. Each result rounds once.
    """
    value = torch.from_numpy(case.chain.result())
    _, d_scale, d_zero, (sizes, codes), zero_sizes = papers(
        case.grad, value, case.scale, case.zero.float(), case.chain.axis, *case.ends
    )
    u = 2**-24
    tolerance = d_scale.abs() * u + 18 * u * sizes + 3 * u * codes
    assert ((found[5].double() - d_scale).abs() <= tolerance).all(), (found[5], d_scale)
    tolerance = d_zero.abs() * u + 16 * u * zero_sizes
    assert ((found[6].double() - d_zero).abs() <= tolerance).all(), (found[6], d_zero)
    assert found[5].shape == found[6].shape == case.scale.shape
    assert found[5].dtype == found[6].dtype == torch.float32
    return d_scale, d_zero


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("through_statistics", [True, False])
def test_against_separate_steps_and_the_papers(ops, activation, residual, through_statistics):
    for shape, axis in SHAPES:
        case = make_case(shape, axis, activation, residual)
        found = learn(case, ops, through_statistics, residual_grad=True)
        plain = case.run(ops, through_statistics, residual_grad=True)
        separate = in_two_steps(case, ops, through_statistics, residual_grad=True)
        for result, other, third in zip(found, plain[:PLAIN], separate, strict=False):
            same_bits(result, other)
            same_bits(result, third)
        assert plain[5].shape == plain[6].shape == (0,)
        d_scale, d_zero = check_sums(case, found)
        assert d_scale.item() != 0
        assert d_zero.item() != 0 or activation != "none"


@pytest.mark.parametrize("residual", [None, torch.int8])
@pytest.mark.parametrize("prelu", [True, False])
def test_one_scale_per_channel(ops, residual, prelu):
    case = make_case((6, 24, 5, 7), 1, "leaky_relu", residual, prelu=prelu)
    case.scale, case.zero, case.ends = quantizer(24)
    found, plain = learn(case, ops, True), case.run(ops, True)
    for result, other in zip(found, plain[:PLAIN], strict=False):
        same_bits(result, other)
    check_sums(case, found)
    # Equal parameters: the sums of the channels are those of the tensor.
    case.scale, case.zero = torch.full((24,), 0.013), torch.full((24,), 90, dtype=torch.int32)
    of_channels = learn(case, ops, True)
    case.scale, case.zero = case.scale[:1], case.zero[:1]
    of_tensor = learn(case, ops, True)
    for s in (5, 6):  # each channel's sum was rounded to float32
        error = (of_channels[s].double().sum() - of_tensor[s].double()).abs()
        assert error <= 2**-24 * (of_channels[s].double().abs().sum() + of_tensor[s].abs())


@pytest.mark.parametrize("per_channel", [True, False])
def test_clipped_only_counts_the_clipped_elements(ops, per_channel):
    """PACT (Choi et al. 2018): for alpha = 15 scale, d x_hat / d alpha is 1 above alpha, else 0."""
    case = make_case((6, 24, 5, 7), 1, "relu")
    case.scale = torch.full((24 if per_channel else 1,), 1 / 16)
    case.zero, case.ends = torch.zeros(case.scale.shape, dtype=torch.int32), (0, 15)
    case.grad = torch.randint(-9, 9, case.grad.shape).float()  # sums of small integers are exact
    found = learn(case, ops, False, clipped_only=True)
    above = torch.round(torch.from_numpy(case.chain.result()) * 16) > 15
    expected = 15 * torch.where(above, case.grad, 0.0).sum((0, 2, 3) if per_channel else None)
    assert torch.equal(found[5], expected.reshape(case.scale.shape)) and expected.any()
    whole = learn(case, ops, False)
    assert not torch.equal(whole[5], found[5])
    for s in (0, 1, 2, 3, 4, 6):
        same_bits(whole[s], found[s])


def test_special_values(ops):
    """Infinities are clipped; NaN adds nothing, whatever its gradient."""
    acc = torch.tensor([[float("nan")], [float("inf")], [-float("inf")], [2.0]])
    grad = torch.tensor([[float("inf")], [1.0], [10.0], [100.0]])
    none = (None,) * 6
    scale, zero = torch.tensor([2.0]), torch.tensor([3], dtype=torch.int32)
    options = {"axis": 1, "activation": 0, "p0": 0.0, "p1": 0.0, "quant_min": 0, "quant_max": 15}
    options |= {"through_statistics": False, "residual_grad": False, "learned": True}
    found = ops.bn_act_quantize_backward(grad, acc, *none, scale, zero, *none[:3], **options)
    assert found[5].item() == 12 - 30 and found[6].item() == -2 * 11


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_memory_orders(ops, layout):
    case = make_case((4, 24, 5, 6), 1, "hardswish", torch.float32)
    chain = copy.copy(case.chain)
    for name in ("acc", "residual"):
        setattr(chain, name, layouts.lay_out(getattr(chain, name), layout))
    laid_out = dataclasses.replace(case, chain=chain, grad=layouts.lay_out(case.grad, layout))
    dense = copy.copy(chain)
    dense.acc, dense.residual = chain.acc.contiguous(), chain.residual.contiguous()
    expected = dataclasses.replace(case, chain=dense, grad=laid_out.grad.contiguous())
    for a, b in zip(learn(laid_out, ops, True), learn(expected, ops, True), strict=True):
        same_bits(a, b)


def test_half_precision_accumulators(ops):
    case = make_case((6, 24, 5, 7), 1, "relu")
    narrow = dataclasses.replace(case, chain=copy.copy(case.chain))
    narrow.chain.acc = case.chain.acc.half()
    case.chain.acc = narrow.chain.acc.float()
    for a, b in zip(learn(narrow, ops, True), learn(case, ops, True), strict=True):
        same_bits(a, b)


@pytest.mark.parametrize("shape", [(8, 24, 40, 40), (3000, 10), (2, 512, 9, 9), (3, 5000)])
def test_thread_count_does_not_matter(ops, shape):
    """Several blocks for each sum, columns that fill no register."""
    case = make_case(shape, 1, "relu")
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(learn(case, ops, True))
    check_sums(case, found[0])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_empty(ops):
    case = make_case((6, 4), 1, "relu")
    case.grad, case.chain.acc = case.grad[:0], case.chain.acc[:0]
    found = learn(case, ops, True)
    assert found[5].tolist() == found[6].tolist() == [0]


def test_errors(ops):
    case = make_case((6, 4), 1, "relu")
    name = "bn_act_quantize_backward: "
    unquantized = dataclasses.replace(case, scale=None, zero=None)
    with pytest.raises(ValueError, match=name + "learned: expected a scale and a zero_point, got"):
        learn(unquantized, ops, True)
    with pytest.raises(ValueError, match=name + "clipped_only: expected False unless learned is T"):
        case.run(ops, True, clipped_only=True)
