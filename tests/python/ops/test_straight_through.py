"""Rule 4 as one bit per element: what writes it, and straight_through, which reads it."""

import numpy as np
import pytest
import torch

from ops import layouts, reference
from ops.reference import FORMATS, code_range, numbers, same_bits

SPECIAL = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3e38])
UNSIGNED = {"quant_min": 0, "quant_max": 255}
WRITERS = {
    "fake_quantize_with_mask": "fake_quantize",
    "quantize_with_mask": "quantize",
}


def in_memory(tensor):
    """The elements of a dense tensor in the order in which they lie in memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


def bits_of(mask, count):
    """Lowest bit first; the bits behind the last element are clear."""
    bits = np.unpackbits(mask.numpy(), bitorder="little")
    assert mask.shape == ((count + 7) // 8,) and not bits[count:].any()
    return torch.from_numpy(bits[:count].astype(bool))


def check(ops, writer, x, scale, zero, axis, low, high):
    """Values of the operator without a mask, bits of rule 4, and the gradient that x would give."""
    keywords = {"axis": axis, "quant_min": low, "quant_max": high}
    result, mask, *ends = getattr(ops, writer)(x, scale, zero, **keywords)
    same_bits(result, getattr(ops, WRITERS[writer])(x, scale, zero, **keywords))
    assert result.stride() == torch.empty_like(x).stride()
    passed = reference.mask(numbers(x.float()), numbers(scale), numbers(zero), axis, low, high)
    expected = torch.empty_like(result, dtype=torch.bool).copy_(
        torch.from_numpy(np.asarray(passed))
    )
    assert torch.equal(bits_of(mask, x.numel()), in_memory(expected))
    grad = torch.randn(x.shape)
    dx = ops.straight_through(grad, mask, stride=result.stride())
    same_bits(dx, ops.fake_quantize_backward(grad, x.float(), scale, zero, **keywords))
    assert dx.stride() == result.stride()
    return ends


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("bits, kind", FORMATS)
def test_borders_of_every_format(ops, writer, bits, kind):
    """Codes, the ties between them, and the floats next to the ties at both ends."""
    low, high = code_range(bits, kind)
    for zero in {low, (low + high) // 2, high}:
        scale, zero_point = torch.tensor([0.1]), torch.tensor([zero], dtype=torch.int32)
        grid = (torch.arange(2 * low - 9, 2 * high + 9) / 2 - zero) * scale
        near = [torch.nextafter(grid, torch.tensor(float(e))) for e in ("inf", "-inf")]
        x = torch.cat([grid, *near, torch.randn(300) * 10, SPECIAL])
        check(ops, writer, x, scale, zero_point, -1, low, high)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("axis", [-1, 0, 1, 3])
@pytest.mark.parametrize("shape", [(3, 24, 5, 3), (2, 8, 4, 4), (5, 3, 1, 7), (1, 130, 3, 3)])
def test_layouts_and_axes(ops, writer, layout, axis, shape):
    """Channels of 1 to 130 elements in a row: their bits begin anywhere in a byte."""
    x = layouts.lay_out(torch.randn(shape) * 3, layout)
    count = 1 if axis == -1 else x.shape[axis]
    scale = torch.linspace(0.01, 0.05, count)
    zero = torch.arange(count, dtype=torch.int32) + 60
    check(ops, writer, x, scale, zero, axis, 0, 255)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("shape, axis", [((300001,), -1), ((601, 501), 0), ((67, 4999), 1)])
def test_threads_share_no_byte(ops, writer, shape, axis, threads=4):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        count = 1 if axis == -1 else shape[axis]
        zero = torch.full((count,), 9, dtype=torch.int32)
        check(ops, writer, torch.randn(shape), torch.rand(count) * 0.1 + 0.05, zero, axis, 0, 15)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("count", [*range(20), 63, 64, 65, 129])
def test_short_tensors(ops, writer, count):
    check(ops, writer, torch.randn(count), torch.ones(1), torch.zeros(1).int(), -1, 0, 1)
    check(ops, writer, torch.randn(()), torch.ones(1), torch.zeros(1).int(), -1, 0, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_first(ops, dtype):
    x, scale, zero = torch.randn(77).to(dtype), torch.tensor([0.013]), torch.tensor([7]).int()
    for writer in WRITERS:
        check(ops, writer, x, scale, zero, -1, 0, 255)
    _, mask = ops.fake_quantize_with_mask(x, scale, zero, axis=-1, **UNSIGNED)
    grad = torch.randn(77).to(dtype)
    dx = ops.straight_through(grad, mask, stride=[1])
    same_bits(dx, ops.fake_quantize_backward(grad, x, scale, zero, axis=-1, **UNSIGNED))


@pytest.mark.parametrize("place", [0, 15, 16, 36])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -9.0, 9.0])
def test_range_holds_the_finite_elements(ops, place, value):
    x = torch.linspace(-1, 2, 37)
    x[place] = value
    *_, ends = ops.quantize_with_mask(x, torch.ones(1), torch.zeros(1).int(), axis=-1, **UNSIGNED)
    finite = x[x.isfinite()]
    assert ends.tolist() == [finite.min().item(), finite.max().item()]


def test_range_of_nothing_is_zero(ops):
    for x in (torch.empty(0, 3), torch.full((40,), float("nan"))):
        found = ops.quantize_with_mask(x, torch.ones(1), torch.zeros(1).int(), axis=-1, **UNSIGNED)
        assert found[2].tolist() == [0, 0]


def test_gradient_of_another_memory_order(ops):
    """The mask belongs to memory, the gradient to positions."""
    x = torch.randn(2, 5, 4, 3).contiguous(memory_format=torch.channels_last)
    scale, zero = torch.tensor([0.004]), torch.tensor([128]).int()
    y, mask = ops.fake_quantize_with_mask(x, scale, zero, axis=-1, **UNSIGNED)
    for layout in layouts.NAMES:
        grad = layouts.lay_out(torch.randn(x.shape), layout)
        dx = ops.straight_through(grad, mask, stride=y.stride())
        same_bits(dx, ops.fake_quantize_backward(grad, x, scale, zero, axis=-1, **UNSIGNED))
        assert dx.stride() == x.stride()


def test_only_bits_decide(ops):
    """NaN passes where its bit is set and becomes 0 where it is not."""
    grad = torch.full((20,), float("nan"))
    dx = ops.straight_through(grad, torch.tensor([0xFE, 0xFF, 0xF7]).byte(), stride=[1])
    assert [i for i, each in enumerate(dx.tolist()) if each == 0] == [0, 19]
    assert dx.isnan().sum() == 18


def test_fake_quantize_keeps_a_bit_for_each_element(ops):
    x = torch.randn(1000, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ops.fake_quantize(x, torch.ones(1), torch.zeros(1).int(), axis=-1, **UNSIGNED)
    assert [(t.dtype, t.numel()) for t in kept] == [(torch.uint8, 125)]


MASK = torch.zeros(1, dtype=torch.uint8)


@pytest.mark.parametrize(
    "grad, mask, stride, message",
    [
        (torch.ones(3).double(), MASK, [1], "grad: expected float32, bfloat16 or float16, got "),
        (torch.ones(3), MASK.bool(), [1], "mask: expected Byte, got Bool"),
        (torch.ones(9), MASK, [1], r"mask: expected the shape \[2\], got \[1\]"),
        (torch.ones(3), MASK, [], r"stride: .* for the shape \[3\], got \[\]"),
        (torch.ones(3), MASK, [2], r"stride: .* got \[2\]"),
        (torch.ones(2, 3), MASK, [2, 1], r"stride: .* got \[2, 1\]"),
        (torch.ones(2, 3), MASK, [0, 1], r"stride: .* got \[0, 1\]"),
        (torch.ones(2, 3), MASK, [-3, 1], r"stride: .* got \[-3, 1\]"),
    ],
)
def test_errors(ops, grad, mask, stride, message):
    with pytest.raises(ValueError, match="straight_through: " + message):
        ops.straight_through(grad, mask, stride=stride)


@pytest.mark.parametrize("writer", WRITERS)
def test_errors_of_the_writers(ops, writer):
    with pytest.raises(ValueError, match=writer + ": x: expected float32, bfloat16 or float16"):
        getattr(ops, writer)(
            torch.zeros(2).double(), torch.ones(1), torch.zeros(1).int(), axis=-1, **UNSIGNED
        )
