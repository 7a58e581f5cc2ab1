"""quantize and dequantize: rules 2 and 3."""

import numpy as np
import pytest
import torch

from ops import layouts, reference
from ops.reference import FORMATS, F, code_range, numbers, same_bits


def params(scale, zero_point):
    return torch.tensor(np.atleast_1d(scale), dtype=torch.float32), torch.tensor(
        np.atleast_1d(zero_point), dtype=torch.int32
    )


def code_dtype(quant_min):
    return torch.int8 if quant_min < 0 else torch.uint8


def check(ops, x, scale, zero_point, axis, quant_min, quant_max):
    actual = ops.quantize(x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max)
    expected = reference.quantize(
        numbers(x.float()), numbers(scale), numbers(zero_point), axis, quant_min, quant_max
    )
    same_bits(actual, torch.from_numpy(expected).to(code_dtype(quant_min)))
    return actual


@pytest.mark.parametrize("bits, kind", FORMATS)
def test_every_code_and_its_borders(ops, bits, kind):
    """Centres of all codes, the ties between them, and the floats next to each tie."""
    low, high = code_range(bits, kind)
    for zero in {low, (low + high) // 2, high}:
        for step in (F(0.25), F(0.1), F(3.7)):
            centres = (np.arange(low - 3, high + 4) - zero).astype(F) * step
            ties = (np.arange(low - 3, high + 4) - zero).astype(F) * step + step / F(2)
            near = [np.nextafter(ties, F(s) * F(np.inf)) for s in (-1, 1)]
            x = torch.from_numpy(np.concatenate([centres, ties, *near]).astype(F))
            check(ops, x, *params(step, zero), -1, low, high)


# scale 1, codes 0..15, zero point 3: x, code
TIES_AND_ENDS = [
    (-3.5, 0),  # r = rne(-0.5) = 0
    (-4.0, 0),  # clipped
    (-2.5, 0),  # rne(0.5) = 0
    (-1.5, 2),  # rne(1.5) = 2
    (0.5, 4),  # rne(3.5) = 4
    (1.5, 4),  # rne(4.5) = 4
    (12.0, 15),
    (12.5, 15),  # rne(15.5) = 16, clipped
    (13.0, 15),
    (0.0, 3),
    (-0.0, 3),
    (float("inf"), 15),
    (float("-inf"), 0),
    (float("nan"), 3),
    (3.4e38, 15),
    (-3.4e38, 0),
    (1e-45, 3),
]


@pytest.mark.parametrize("x, code", TIES_AND_ENDS)
@pytest.mark.parametrize("copies", [1, 67])  # a scalar tail and whole vectors
def test_ties_ends_and_special_values(ops, x, code, copies):
    actual = ops.quantize(
        torch.full((copies,), x), *params(1.0, 3), axis=-1, quant_min=0, quant_max=15
    )
    assert actual.tolist() == [code] * copies


@pytest.mark.parametrize("shape", [(2, 24, 5, 7), (3, 1, 4, 4), (1, 130, 3, 3), (2, 8, 1, 1)])
@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("axis", [-1, 0, 1, 3])
def test_axes_and_memory_orders(ops, shape, layout, axis):
    x = layouts.lay_out(torch.randn(shape) * 4, layout)
    count = 1 if axis == -1 else shape[axis]
    scale, zero = params(np.linspace(0.02, 0.3, count), np.arange(count) % 7 - 3)
    codes = check(ops, x, scale, zero, axis, -128, 127)
    assert codes.stride() == torch.empty_like(x).stride()
    real = ops.dequantize(codes, scale, zero, axis=axis)
    same_bits(
        real,
        reference.dequantize(numbers(codes), numbers(scale), numbers(zero), axis),
    )
    assert real.stride() == codes.stride()


@pytest.mark.parametrize("bits, kind", FORMATS)
def test_dequantize_every_code(ops, bits, kind):
    low, high = code_range(bits, kind)
    codes = torch.arange(low, high + 1).to(code_dtype(low))
    for zero in (low, 0, high):
        scale, zero_point = params(0.1, zero)
        same_bits(
            ops.dequantize(codes, scale, zero_point, axis=-1),
            reference.dequantize(numbers(codes), F(0.1), zero, -1),
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_first(ops, dtype):
    check(ops, torch.randn(513).to(dtype), *params(0.013, 7), -1, 0, 255)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3, 3)])
def test_scalar_and_empty(ops, shape):
    codes = check(ops, torch.randn(shape), *params(0.1, 5), -1, 0, 255)
    real = ops.dequantize(codes, *params(0.1, 5), axis=-1)
    assert real.shape == codes.shape == torch.Size(shape)


def test_round_trip_is_the_identity_on_codes(ops):
    codes = torch.arange(256, dtype=torch.uint8)
    for scale in (0.1, 1 / 3, 2.0**-20):
        real = ops.dequantize(codes, *params(scale, 77), axis=-1)
        same_bits(
            ops.quantize(real, *params(scale, 77), axis=-1, quant_min=0, quant_max=255), codes
        )


X, ONE, ZERO = torch.zeros(2, 3), torch.ones(1), torch.zeros(1, dtype=torch.int32)


@pytest.mark.parametrize(
    "arguments, changes, message",
    [
        ((X.double(), ONE, ZERO), {}, "x: expected float32, bfloat16 or float16, got Double."),
        ((X, ONE.double(), ZERO), {}, "scale: expected Float, got Double."),
        ((X, ONE, ZERO.long()), {}, "zero_point: expected Int, got Long."),
        ((X, ONE, ZERO), {"axis": 2}, "axis: expected an axis of a tensor of rank 2, got 2."),
        ((X, ONE, ZERO), {"axis": -2}, "axis: expected -1 .one scale. or an axis from the front"),
        ((X, torch.ones(2), ZERO), {"axis": 1}, "scale: expected 1 or 3 elements .*, got 2."),
        ((X, torch.ones(3), ZERO), {"axis": 1}, "zero_point: expected as many elements as scale"),
        ((X, ONE, ZERO), {"quant_max": 256}, "expected an interval inside 0..255 or -128..127, "),
        ((X, ONE, ZERO), {"quant_min": 9, "quant_max": 9}, "got 9..9."),
    ],
)
def test_errors(ops, arguments, changes, message):
    keywords = {"axis": -1, "quant_min": 0, "quant_max": 255} | changes
    with pytest.raises(ValueError, match="quantize: .*" + message):
        ops.quantize(*arguments, **keywords)


def test_dequantize_errors(ops):
    with pytest.raises(
        ValueError, match="dequantize: codes: expected codes in uint8 or int8, got "
    ):
        ops.dequantize(X, ONE, ZERO, axis=-1)
