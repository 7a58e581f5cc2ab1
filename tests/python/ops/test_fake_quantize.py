"""fake_quantize and its straight-through gradient: rules 2 to 4."""

import numpy as np
import pytest
import torch

from ops import layouts, reference
from ops.reference import FORMATS, code_range, numbers, same_bits

SPECIAL = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3e38])


def expected_of(x, scale, zero, axis, low, high):
    arguments = numbers(scale), numbers(zero), axis
    codes = reference.quantize(numbers(x.float()), *arguments, low, high)
    return torch.from_numpy(reference.dequantize(codes, *arguments)).to(x.dtype)


def mask_of(x, scale, zero, axis, low, high):
    values = reference.mask(numbers(x.float()), numbers(scale), numbers(zero), axis, low, high)
    return torch.from_numpy(values)


@pytest.mark.parametrize("bits, kind", FORMATS)
def test_values_and_gradient_of_every_format(ops, bits, kind):
    low, high = code_range(bits, kind)
    scale, zero = torch.tensor([0.1]), torch.tensor([(low + high) // 2], dtype=torch.int32)
    grid = (torch.arange(2 * low - 9, 2 * high + 9) / 2 - zero) * scale  # codes, ties, both ends
    x = torch.cat([grid, torch.randn(300) * 10, SPECIAL]).requires_grad_()
    y = ops.fake_quantize(x, scale, zero, axis=-1, quant_min=low, quant_max=high)
    same_bits(y.detach(), expected_of(x, scale, zero, -1, low, high))
    grad = torch.randn_like(x)
    y.backward(grad)
    expected = torch.where(mask_of(x, scale, zero, -1, low, high), grad, torch.zeros(()))
    same_bits(x.grad, expected)
    assert x.grad[-7:].tolist()[:3] == [0, 0, 0]  # NaN and the infinities


@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_layouts_axes_types(ops, layout, axis, dtype):
    x = layouts.lay_out(torch.randn(3, 24, 5, 3).to(dtype) * 3, layout)
    count = 1 if axis == -1 else x.shape[axis]
    scale = torch.linspace(0.01, 0.05, count)
    zero = torch.arange(count, dtype=torch.int32) + 60
    keywords = {"axis": axis, "quant_min": 0, "quant_max": 255}
    y = ops.fake_quantize(x, scale, zero, **keywords)
    same_bits(y, expected_of(x, scale, zero, axis, 0, 255))
    assert y.stride() == torch.empty_like(x).stride()
    grad = torch.randn(x.shape).to(dtype)
    dx = ops.fake_quantize_backward(grad, x, scale, zero, **keywords)
    passed = mask_of(x, scale, zero, axis, 0, 255)
    same_bits(dx, torch.where(passed, grad, torch.zeros((), dtype=dtype)))
    assert 0 < passed.sum() < passed.numel()


def test_gradient_stops_at_nan_of_grad(ops):
    """A masked element gets 0 even where its incoming gradient is NaN."""
    x, grad = torch.tensor([-100.0, 0.0]), torch.tensor([float("nan"), 2.0])
    dx = ops.fake_quantize_backward(
        grad,
        x,
        torch.ones(1),
        torch.zeros(1, dtype=torch.int32),
        axis=-1,
        quant_min=0,
        quant_max=255,
    )
    assert dx.tolist() == [0.0, 2.0]


def test_only_x_gets_a_gradient(ops):
    x, scale = torch.randn(5, requires_grad=True), torch.ones(1, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.int32)
    ops.fake_quantize(x, scale, zero, axis=-1, quant_min=-8, quant_max=7).sum().backward()
    assert x.grad is not None and scale.grad is None


def test_autocast_computes_in_float32(ops):
    x = torch.randn(64).bfloat16()
    scale, zero = torch.tensor([0.01]), torch.zeros(1, dtype=torch.int32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.fake_quantize(x, scale, zero, axis=-1, quant_min=-128, quant_max=127)
    same_bits(y, expected_of(x.float(), scale, zero, -1, -128, 127))


def test_scalar_and_empty(ops):
    for shape in [(), (0, 3)]:
        x = torch.randn(shape, requires_grad=True)
        y = ops.fake_quantize(
            x,
            torch.ones(1),
            torch.zeros(1, dtype=torch.int32),
            axis=-1,
            quant_min=-8,
            quant_max=7,
        )
        y.sum().backward()
        assert y.shape == x.grad.shape == torch.Size(shape)


def test_backward_refuses_another_shape(ops):
    with pytest.raises(ValueError, match=r"grad: expected the shape \[3\], got \[2\]"):
        ops.fake_quantize_backward(
            torch.ones(2),
            torch.ones(3),
            torch.ones(1),
            torch.zeros(1, dtype=torch.int32),
            axis=-1,
            quant_min=0,
            quant_max=255,
        )


def test_reference_mask_is_not_trivial():
    """Guards the comparison above: the reference does clip, on both sides, at the right code."""
    x = np.array([-1.5, -0.5, 14.5, 15.5, 15.6], dtype=np.float32)
    assert reference.mask(x, 1.0, 0, -1, 0, 15).tolist() == [False, True, True, False, False]
