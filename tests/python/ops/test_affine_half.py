"""affine_half: rule 7's affine map, rounded to float16; and the backward pass that reads it."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from ops import layouts, reference
from ops.chains import RESIDUALS, SHAPES, random_chain
from ops.reference import F, numbers, same_bits
from ops.test_bn_act_quantize_backward import make_case


def expected_of(acc, multiplier, bias, axis):
    parameters = [None if t is None else numbers(t) for t in (multiplier, bias)]
    value = reference.value(numbers(acc), *parameters, axis)
    with np.errstate(over="ignore"):
        return torch.from_numpy(value.astype(np.float16)), bool((abs(value) <= 65504).all())


def check(ops, acc, multiplier, bias, axis):
    values, fits = ops.affine_half(acc, multiplier, bias, axis=axis)
    half, all_fit = expected_of(acc, multiplier, bias, axis)
    same_bits(values, half)
    assert values.movedim(axis, -1).is_contiguous()
    assert fits.dtype == torch.bool and fits.tolist() == [all_fit]
    return all_fit


@pytest.mark.parametrize("shape, axis", SHAPES)
def test_shapes(ops, shape, axis):
    chain = random_chain(shape, axis)
    for multiplier, bias in itertools.product((chain.multiplier, None), (chain.bias, None)):
        check(ops, chain.acc, multiplier, bias, axis)


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_memory_orders(ops, layout):
    chain = random_chain((3, 24, 6, 4), 1)
    check(ops, layouts.lay_out(chain.acc, layout), chain.multiplier, chain.bias, 1)


def test_every_float16_and_the_middles_between_them(ops):
    """All numbers of float16, and float32 at, just below and just above each tie."""
    half = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    half = half[half.isfinite()].unique(sorted=True)
    exact, _ = ops.affine_half(half.float()[:, None], None, None, axis=1)
    same_bits(exact[:, 0].float(), half.float())
    tie = (half[1:].float() + half[:-1].float()) / 2  # exact: 12 bits
    for x in (tie, torch.nextafter(tie, tie + 1), torch.nextafter(tie, tie - 1)):
        assert check(ops, x[:, None], None, None, 1)


def test_what_float16_cannot_hold(ops):
    """65504 is its largest number; from 65520 on rounding gives infinity."""
    ordinary = torch.randn(37, 3)
    assert check(ops, ordinary, None, None, 1)
    for value in (65504.0, -65504.0, 1e-45, -1e-30):
        ordinary[36, 2] = value
        assert check(ops, ordinary, None, None, 1)
    for value in (65505.0, -65519.0, 65520.0, -70000.0, 3e38, float("inf"), -float("inf")):
        for place in ((0, 0), (18, 1), (36, 2)):
            x = torch.randn(37, 3)
            x[place] = value
            assert not check(ops, x, None, None, 1)
    x[18, 1] = float("nan")
    values, fits = ops.affine_half(x, None, None, axis=1)
    assert values.isnan()[18, 1] and values.isnan().sum() == 1 and not fits


@pytest.mark.parametrize("threads", [1, 2])
def test_one_thread_finds_what_does_not_fit(ops, threads):
    torch.set_num_threads(threads)
    for place in (0, 40, 79):
        x = torch.randn(80, 4096)
        x[place] = 1e6
        assert not check(ops, x, None, None, 1)


def test_empty(ops):
    assert check(ops, torch.zeros(0, 4), None, None, 1)


def test_autocast_and_gradients_pass_by(ops):
    acc = torch.randn(4, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, _ = ops.affine_half(acc, None, None, axis=1)
    same_bits(values, acc.detach().half())
    assert not values.requires_grad


ACTIVATIONS = ["none", "relu", "clamp", "leaky_relu", "hardswish"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("shape", [(6, 24, 5, 7), (7, 5), (2, 64, 65, 65)])
def test_backward_reads_float16(ops, activation, residual, shape):
    """The gradients are those of the same numbers in float32, bit for bit."""
    case = make_case(shape, 1, activation, residual, prelu=activation == "leaky_relu")
    half = case.chain.acc.half()
    wanted = {"residual_grad": residual is not None}
    for through in (False, True):
        case.chain = dataclasses.replace(case.chain, acc=half.float())
        expected = case.run(ops, through, **wanted)
        case.chain = dataclasses.replace(case.chain, acc=half)
        for found, wide in zip(case.run(ops, through, **wanted), expected, strict=True):
            same_bits(found, wide)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"acc": torch.zeros(2, 3).half()}, "acc: expected Float, got Half"),
        ({"acc": torch.tensor(F(1))}, "acc: expected a channel axis, got a scalar"),
        ({"multiplier": torch.ones(2)}, r"multiplier: expected 3 elements .* got 2"),
        ({"bias": torch.ones(3).double()}, "bias: expected Float, got Double"),
        ({"axis": 2}, "axis: expected an axis of a tensor of rank 2, got 2"),
    ],
)
def test_errors(ops, changes, message):
    given = {"acc": torch.zeros(2, 3), "multiplier": None, "bias": None, "axis": 1} | changes
    with pytest.raises(ValueError, match="affine_half: " + message):
        ops.affine_half(given["acc"], given["multiplier"], given["bias"], axis=given["axis"])


def test_backward_refuses_other_types(ops):
    case = make_case((6, 4), 1, "relu")
    case.chain.acc = case.chain.acc.bfloat16()
    with pytest.raises(ValueError, match="backward: acc: expected float32 or float16, got BFloat"):
        case.run(ops, True)
