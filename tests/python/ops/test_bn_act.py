"""bn_act, bn_act_quantize and requantize: rules 7, 8 and 2 in one pass."""

import dataclasses

import numpy as np
import pytest
import torch

from ops import layouts, reference
from ops.chains import RESIDUALS, SHAPES, finite_range, quantizer, random_chain
from ops.reference import ACTIVATIONS, numbers, same_bits


def check(ops, chain, scale, zero, ends):
    expected = chain.result()
    plain = ops.bn_act(*chain.tensors(), **chain.keywords())
    same_bits(plain, torch.from_numpy(expected))
    assert plain.movedim(chain.axis, -1).is_contiguous()
    low, high = ends
    codes, seen = ops.bn_act_quantize(
        *chain.tensors(),
        scale,
        zero,
        **chain.keywords(),
        quant_min=low,
        quant_max=high,
        observe=True,
    )
    wanted = reference.quantize(expected, numbers(scale), numbers(zero), chain.axis, low, high)
    same_bits(codes, torch.from_numpy(wanted).to(torch.int8 if low < 0 else torch.uint8))
    assert codes.movedim(chain.axis, -1).is_contiguous()
    same_bits(seen, torch.tensor(finite_range(expected), dtype=torch.float32))
    return codes


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_activations_residuals_shapes(ops, activation, residual, shape, axis):
    signed = residual == torch.int8
    codes = check(ops, random_chain(shape, axis, activation, residual), *quantizer(1, signed))
    assert codes.unique().numel() > 1


@pytest.mark.parametrize("residual", RESIDUALS)
def test_prelu_and_scale_per_channel(ops, residual):
    chain = random_chain((2, 24, 5, 7), 1, "leaky_relu", residual, prelu=True)
    check(ops, chain, *quantizer(24))


@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("residual", RESIDUALS)
def test_memory_orders(ops, layout, residual):
    chain = random_chain((3, 24, 6, 4), 1, "hardswish", residual)
    chain.acc = layouts.lay_out(chain.acc, layout)
    if residual is not None:
        chain.residual = layouts.lay_out(chain.residual, layout)
    check(ops, chain, *quantizer())


ROWS = [((2, 1, 3, 4), 1), ((1, 8, 1, 1), 1), ((3, 5), 1), ((2, 4, 7), 2), ((2, 5, 1, 3, 1), 1)]
ROWS += [((0, 8, 2, 2), 1), ((2, 8, 0, 3), 1), ((6,), 0), ((2, 3, 4, 5), -3)]


@pytest.mark.parametrize("shape, axis", ROWS)
def test_strides_are_those_of_rows(ops, shape, axis):
    acc = torch.randn(shape)
    moved = torch.empty(acc.movedim(axis, -1).shape).movedim(-1, axis)
    keywords = {"axis": axis, "activation": 0, "p0": 0.0, "p1": 0.0}
    for given in (acc, acc.to("meta")):
        out = ops.bn_act(given, None, None, None, None, None, None, **keywords)
        assert out.stride() == moved.stride()
    same_bits(ops.bn_act(acc, None, None, None, None, None, None, **keywords), acc)


def test_strides_of_axes_with_one_entry_say_nothing(ops):
    chain = random_chain((1, 24, 6, 1), 1, "relu")
    chain.acc = chain.acc.contiguous(memory_format=torch.channels_last)
    chain.acc = chain.acc.as_strided(chain.acc.shape, (7, 1, 24, 5))
    check(ops, chain, *quantizer())
    chain = random_chain((3, 1, 4, 2), 1, "relu")
    chain.acc = chain.acc.contiguous().as_strided(chain.acc.shape, (8, 1000, 2, 1))
    check(ops, chain, *quantizer())


def test_without_multiplier_and_bias_acc_is_left_alone(ops):
    chain = random_chain((2, 4, 3, 3), 1, "none", plain=True)
    chain.acc[0, 0, 0] = torch.tensor([-0.0, 0.0, float("inf")])
    out = ops.bn_act(*chain.tensors(), **chain.keywords())
    same_bits(out.contiguous().view(torch.int32), chain.acc.view(torch.int32))


def test_multiplier_without_bias(ops):
    chain = random_chain((2, 4, 3, 3), 1, "relu")
    chain.bias = None
    check(ops, chain, *quantizer())
    chain.multiplier, chain.bias = None, torch.randn(4)
    check(ops, chain, *quantizer())


def test_special_values(ops):
    """NaN gives the zero point, infinities saturate, and neither enters the range."""
    special = [float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e-45, 3e38, -3e38]
    for activation in ACTIVATIONS:
        chain = random_chain((16, 4), 1, activation)
        chain.acc.view(-1)[:8] = torch.tensor(special)
        check(ops, chain, *quantizer())
    nothing = dataclasses.replace(chain, acc=torch.full((16, 4), float("nan")), activation="none")
    codes = check(ops, nothing, *quantizer())
    assert codes.unique().tolist() == [90]


@pytest.mark.parametrize(
    "shape, axis", [((0, 4, 3, 3), 1), ((2, 4, 0, 3), 1), ((2, 0, 3), 1), ((3,), 0)]
)
def test_empty_and_one_axis(ops, shape, axis):
    check(ops, random_chain(shape, axis), *quantizer())


def test_observation_can_be_left_out(ops):
    chain, (scale, zero, _) = random_chain((2, 8, 5, 5), 1), quantizer()
    ends = {"quant_min": 0, "quant_max": 255}
    arguments = (*chain.tensors(), scale, zero)
    codes, seen = ops.bn_act_quantize(*arguments, **chain.keywords(), **ends, observe=False)
    assert seen.tolist() == [0, 0]
    same_bits(codes, ops.bn_act_quantize(*arguments, **chain.keywords(), **ends, observe=True)[0])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_requantize(ops, bits, signed):
    low, high = reference.code_range(bits, "signed" if signed else "unsigned")
    chain = random_chain((2, 24, 5, 7), 1, "none")
    scale, zero = torch.tensor([6.0 / (high - low)]), torch.tensor([low + 1], dtype=torch.int32)
    for bias in (chain.bias, None):
        chain.bias = bias
        actual = ops.requantize(
            chain.acc, chain.multiplier, bias, scale, zero, axis=1, quant_min=low, quant_max=high
        )
        expected = reference.quantize(chain.value(), numbers(scale), numbers(zero), 1, low, high)
        same_bits(actual, torch.from_numpy(expected).to(actual.dtype))
        assert np.unique(expected).size > (high - low) // 2


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_result(ops, threads):
    torch.set_num_threads(threads)
    check(ops, random_chain((4, 24, 60, 60), 1, "hardswish", torch.uint8), *quantizer())


def test_autocast_and_gradients_pass_by(ops):
    chain = random_chain((2, 4, 3, 3), 1)
    expected = ops.bn_act(*chain.tensors(), **chain.keywords())
    chain.acc.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ops.bn_act(*chain.tensors(), **chain.keywords())
    same_bits(out, expected)
    assert not out.requires_grad


SCALE, ZERO, _ = quantizer()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"acc": torch.zeros(2, 4).double()}, "acc: expected Float, got Double"),
        ({"acc": torch.zeros(())}, "acc: expected a channel axis, got a scalar"),
        ({"axis": 2}, "axis: expected an axis of a tensor of rank 2, got 2"),
        ({"multiplier": torch.ones(3)}, "multiplier: expected 4 elements .one per channel., got 3"),
        ({"bias": torch.ones(4).double()}, "bias: expected Float, got Double"),
        ({"residual": torch.zeros(2, 3)}, r"residual: expected the shape \[2, 4\], got \[2, 3\]"),
        (
            {"residual": torch.zeros(2, 4).int()},
            "residual: expected float32, or codes in .* got Int",
        ),
        ({"residual": torch.zeros(2, 4).byte()}, "expected tensors where the residual holds codes"),
        ({"residual_scale": SCALE}, "residual_zero_point: expected None without a residual"),
        ({"activation": 6}, "activation: expected a number from 0 to 5, got 6"),
        ({"slope": torch.ones(4)}, r"slope: expected None unless activation is leaky_relu \(3\)"),
    ],
)
def test_errors(ops, changes, message):
    names = ["acc", "multiplier", "bias", "residual", "residual_scale", "residual_zero_point"]
    arguments = dict.fromkeys(names + ["slope"]) | {"acc": torch.zeros(2, 4)}
    arguments |= {"axis": 1, "activation": 1, "p0": 0.0, "p1": 0.0} | changes
    with pytest.raises(ValueError, match="bn_act: .*" + message):
        ops.bn_act(**arguments)
    quantized = {"scale": SCALE, "zero_point": ZERO, "quant_min": 0, "quant_max": 255}
    with pytest.raises(ValueError, match="bn_act_quantize: .*" + message):
        ops.bn_act_quantize(**arguments, **quantized, observe=True)


def test_requantize_errors(ops):
    acc, m = torch.zeros(2, 4), torch.ones(4)
    with pytest.raises(ValueError, match="requantize: scale: expected 1 or 4 elements .*, got 3"):
        ops.requantize(acc, m, None, torch.ones(3), ZERO, axis=1, quant_min=0, quant_max=255)
    with pytest.raises(ValueError, match="requantize: quant_min, quant_max: .* got 0..256"):
        ops.requantize(acc, m, None, SCALE, ZERO, axis=1, quant_min=0, quant_max=256)


@pytest.mark.parametrize("values", [[-3.0, -0.5, -2.0], [0.0, -0.0, 0.0], [0.5, 4.0], [-1.0, 2.0]])
@pytest.mark.parametrize("count", [3, 16, 75, 512])
def test_range_of_either_sign(ops, values, count):
    """Negative, positive, both, and zeros of both signs, in whole and in cut registers."""
    acc = torch.tensor(values).repeat(count)[:count, None].contiguous()
    scale, zero, _ = quantizer()
    options = {"axis": 1, "activation": 0, "p0": 0.0, "p1": 0.0, "observe": True}
    ends = {"quant_min": 0, "quant_max": 255}
    _, seen = ops.bn_act_quantize(acc, *[None] * 6, scale, zero, **options, **ends)
    low, high = acc.min().item(), acc.max().item()
    assert seen.tolist() == [low, high]
    if low == high == 0:
        assert torch.signbit(seen).tolist() == [True, False]
