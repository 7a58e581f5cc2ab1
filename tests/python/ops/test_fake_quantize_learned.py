"""fake_quantize_learned: rule 13, the gradients of LSQ (Esser et al. 2020) and LSQ+ (Bhalgat et al.
2020) evaluated in float64."""

import pytest
import torch

from ops import layouts, reference
from ops.reference import FORMATS, code_range, numbers, same_bits

NAN, INF = float("nan"), float("inf")
ALL = {"quant_min": 0, "quant_max": 255, "grad_scale": 1.0}


def zero_codes(zero_point, low, high):
    return zero_point.detach().round().clamp(low, high).nan_to_num(low)


def expected_of(x, scale, zero_point, axis, low, high):
    """The forward, from rules 2 and 3."""
    arguments = numbers(scale), numbers(zero_codes(zero_point, low, high)), axis
    codes = reference.quantize(numbers(x.float()), *arguments, low, high)
    return torch.from_numpy(reference.dequantize(codes, *arguments)).to(x.dtype)


def papers(grad, x, scale, zero_point, axis, low, high):
    """Gradients by the formulas of the papers, and the magnitudes that their sums add up.

    With v = x / s and the offset beta = -zp * s of LSQ+: inside the range the scale gets
    round(v) - v, outside of it the end less zp; the offset gets 0 inside and 1 outside, hence the
    zero point -s.
    """
    shape = [1] * x.dim()
    if scale.numel() > 1:
        shape[axis] = -1
    x, grad = x.detach().double(), grad.double()
    s, zp = scale.detach().double().view(shape), zero_codes(zero_point, low, high).double()
    zp = zp.view(shape)
    inside = torch.from_numpy(
        reference.mask(numbers(x.float()), numbers(scale), numbers(zp), axis, low, high)
    )
    v = x / s
    rounded = torch.from_numpy(
        reference.unclamped(numbers(x.float()), numbers(scale), numbers(zp), axis)
    )
    end = torch.where(rounded > high, high - zp, low - zp)
    slope = torch.where(inside, (rounded - zp) - v, end)
    outside = ~inside & ~x.isnan()
    slope = torch.where(x.isnan(), 0.0, slope)
    kept = [] if scale.numel() == 1 else [axis]
    axes = [a for a in range(x.dim()) if a not in kept]

    def total(terms):
        return terms.sum(axes).reshape(scale.shape) if axes else terms.reshape(scale.shape)

    d_scale, d_zero = total(grad * slope), total(torch.where(outside, -s * grad, 0.0))
    magnitudes = total((grad * slope).abs()), total((grad * (slope.abs() + v.abs() * inside)).abs())
    return inside, d_scale, d_zero, magnitudes, total(torch.where(outside, s * grad.abs(), 0.0))


def check(grad, x, scale, zero_point, axis, low, high, found, grad_scale=1.0):
    inside, d_scale, d_zero, (sizes, codes), zero_sizes = papers(
        grad, x, scale, zero_point, axis, low, high
    )
    same_bits(found[0], torch.where(inside, grad, torch.zeros((), dtype=grad.dtype)).to(x.dtype))
    # u = 2^-24. 1 / scale and its product with x err by 2 u of x / scale, and by as much of the
    # difference to the code; the difference and its product with the gradient round once each and
    # 16 float additions by 15 u of the magnitudes: 17 u, and one more for the second order. Each
    # result rounds once.
    tolerance = d_scale.abs() * 2**-24 + 18 * 2**-24 * sizes + 3 * 2**-24 * codes
    error = (found[1].double() - grad_scale * d_scale).abs()
    assert (error <= tolerance * abs(grad_scale)).all(), (error, tolerance)
    tolerance = d_zero.abs() * 2**-24 + 16 * 2**-24 * zero_sizes
    error = (found[2].double() - grad_scale * d_zero).abs()
    assert (error <= tolerance * abs(grad_scale)).all(), (error, tolerance)


def parameters(count, low, high):
    scale = torch.linspace(0.03, 0.05, count)
    return scale, torch.linspace(0.3 * low + 0.7 * high, 0.5 * (low + high) - 0.3, count)


@pytest.mark.parametrize("bits, kind", FORMATS)
@pytest.mark.parametrize("axis", [-1, 1])
def test_values_and_gradients_of_every_format(ops, bits, kind, axis):
    low, high = code_range(bits, kind)
    scale, zero = parameters(1 if axis == -1 else 6, low, high)
    x = torch.randn(5, 6, 7) * (high - low + 4) * 0.02
    for tensor in (x, scale, zero):
        tensor.requires_grad_()
    y = ops.fake_quantize_learned(
        x, scale, zero, axis=axis, quant_min=low, quant_max=high, grad_scale=0.5
    )
    same_bits(y.detach(), expected_of(x, scale, zero, axis, low, high))
    grad = torch.randn(x.shape)
    found = torch.autograd.grad(y, (x, scale, zero), grad)
    check(grad, x, scale, zero, axis, low, high, found, 0.5)
    assert (found[1] != 0).all() and (found[2] != 0).all()


@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("axis", [-1, 0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_layouts_axes_types(ops, layout, axis, dtype):
    x = layouts.lay_out((torch.randn(3, 24, 5, 3) * 4).to(dtype), layout)
    scale, zero = parameters(1 if axis == -1 else x.shape[axis], 0, 255)
    y = ops.fake_quantize_learned(x, scale, zero, axis=axis, **ALL)
    same_bits(y, expected_of(x, scale, zero, axis, 0, 255))
    grad = torch.randn(x.shape).to(dtype)
    found = ops.fake_quantize_learned_backward(grad, x, scale, zero, axis=axis, **ALL)
    check(grad, x, scale, zero, axis, 0, 255, found)
    assert [t.dtype for t in found] == [dtype, torch.float32, torch.float32]
    assert found[0].stride() == torch.empty_like(x).stride()


@pytest.mark.parametrize(
    "shape, axis", [((700, 1000), -1), ((4, 24, 90, 90), 1), ((2, 3, 300, 300), 1), ((9, 5000), 1)]
)
def test_large_tensors_of_any_thread_count(ops, shape, axis):
    """Several blocks for each sum, streamed results, rows wider than the buffer of sums."""
    x, grad = torch.randn(shape) * 4, torch.randn(shape)
    scale, zero = parameters(1 if axis == -1 else shape[axis], 0, 255)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(ops.fake_quantize_learned_backward(grad, x, scale, zero, axis=axis, **ALL))
    check(grad, x, scale, zero, axis, 0, 255, found[0])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_zero_point_becomes_a_code(ops):
    """Ties to even, clamped at both ends, NaN the smallest code; its gradient passes."""
    zero = torch.tensor([0.5, 1.5, -7.0, 99.0, NAN], requires_grad=True)
    x = torch.full((1, 5), 100.0)
    y = ops.fake_quantize_learned(
        x, torch.ones(5), zero, axis=1, quant_min=0, quant_max=15, grad_scale=1.0
    )
    assert y.tolist() == [[15, 13, 15, 0, 15]]
    y.sum().backward()
    assert zero.grad.tolist() == [-1] * 5


def test_special_values(ops):
    """Infinities are clipped; NaN becomes 0, whatever its gradient, and adds nothing."""
    x = torch.tensor([NAN, INF, -INF, 2.0], requires_grad=True)
    scale = torch.tensor([2.0], requires_grad=True)
    zero = torch.tensor([3.0], requires_grad=True)
    y = ops.fake_quantize_learned(
        x, scale, zero, axis=-1, quant_min=0, quant_max=15, grad_scale=1.0
    )
    assert y.tolist() == [0, 24, -6, 2]
    y.backward(torch.tensor([INF, 1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [0, 0, 0, 100]
    assert scale.grad.item() == 12 - 30 and zero.grad.item() == -2 * 11


def test_scale_of_one_element_with_an_axis(ops):
    x, grad = torch.randn(4, 5), torch.randn(4, 5)
    scale, zero = torch.tensor([0.1]), torch.tensor([7.0])
    options = {"quant_min": 0, "quant_max": 15, "grad_scale": 1.0}
    one = ops.fake_quantize_learned_backward(grad, x, scale, zero, axis=1, **options)
    other = ops.fake_quantize_learned_backward(grad, x, scale, zero, axis=-1, **options)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_scalar_and_empty(ops, shape):
    x = torch.full(shape, 99.0, requires_grad=True)
    scale = torch.ones(1, requires_grad=True)
    zero = torch.zeros(1, requires_grad=True)
    options = {"quant_min": -8, "quant_max": 7, "grad_scale": 1.0}
    ops.fake_quantize_learned(x, scale, zero, axis=-1, **options).sum().backward()
    assert x.grad.shape == torch.Size(shape)
    assert [scale.grad.item(), zero.grad.item()] == ([7, -1] if shape == () else [0, 0])


def test_autocast_computes_in_float32(ops):
    x = torch.randn(64).bfloat16()
    scale, zero = torch.tensor([0.01]), torch.tensor([99.6])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.fake_quantize_learned(x, scale, zero, axis=-1, **ALL)
    same_bits(y, expected_of(x.float(), scale, zero, -1, 0, 255))


@pytest.mark.parametrize("axis", [-1, 1])
def test_clipped_only_counts_the_clipped_elements(ops, axis):
    """PACT (Choi et al. 2018): with alpha = 15 scale, d x_hat / d alpha is 1 above it."""
    x = torch.randn(5, 6, 7) * 4
    scale = torch.full((1 if axis == -1 else 6,), 0.25)
    zero = torch.zeros_like(scale)
    grad = torch.randint(-9, 9, x.shape).float()  # sums of small integers are exact
    options = {"quant_min": 0, "quant_max": 15, "grad_scale": 1 / 15, "clipped_only": True}
    found = ops.fake_quantize_learned_backward(grad, x, scale, zero, axis=axis, **options)
    above = torch.where(torch.round(x / 0.25) > 15, grad, 0.0)
    expected = above.sum() if axis == -1 else above.sum((0, 2))
    assert torch.equal(found[1], expected.reshape(scale.shape)) and (expected != 0).all()
    plain = ops.fake_quantize_learned_backward(
        grad, x, scale, zero, axis=axis, **(options | {"clipped_only": False})
    )
    assert torch.equal(found[0], plain[0]) and torch.equal(found[2], plain[2])
    assert not torch.equal(found[1], plain[1])


def test_lsq_learns_the_scale(ops):
    """Descent on the quantization error moves a scale that is far off to one near the best."""
    torch.manual_seed(0)
    x = torch.rand(4096)
    scale = torch.tensor([0.5], requires_grad=True)
    zero = torch.tensor([0.0], requires_grad=True)
    options = {"quant_min": 0, "quant_max": 15, "grad_scale": 1 / 4096}
    for _ in range(400):
        y = ops.fake_quantize_learned(x, scale, zero, axis=-1, **options)
        y.backward(2 * (y - x).detach())
        with torch.no_grad():
            scale -= 0.05 * scale.grad
        scale.grad = None
    assert abs(scale.item() - 1 / 15) < 0.1 / 15


BAD = [
    ({"zero_point": torch.zeros(1, dtype=torch.int32)}, "zero_point: expected Float, got Int"),
    ({"zero_point": torch.zeros(2)}, r"zero_point: expected 1 elements .*, got 2"),
    ({"scale": torch.ones(2), "zero_point": torch.ones(2)}, "scale: expected 1 or 1 elements"),
    ({"axis": -2}, r"axis: expected -1 \(one scale\) or an axis from the front, got -2"),
    ({"axis": 1}, "axis: expected an axis of a tensor of rank 1, got 1"),
    ({"quant_min": 3, "quant_max": 3}, r"quant_min, quant_max: expected an interval .* got 3\.\.3"),
    ({"grad_scale": INF}, "grad_scale: expected a finite number, got inf"),
    ({"x": torch.zeros(3).int()}, "x: expected float32, bfloat16 or float16, got Int"),
]


@pytest.mark.parametrize("change, message", BAD)
@pytest.mark.parametrize("backward", [False, True])
def test_errors(ops, change, message, backward):
    keywords = {"axis": -1} | ALL
    tensors = {"x": torch.zeros(3), "scale": torch.ones(1), "zero_point": torch.zeros(1)}
    for name, value in change.items():
        (keywords if name in keywords else tensors)[name] = value
    name = "fake_quantize_learned" + "_backward" * backward
    operands = [torch.zeros(3)] * backward + list(tensors.values())
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        getattr(ops, name)(*operands, **keywords)


def test_backward_refuses_another_shape(ops):
    with pytest.raises(ValueError, match=r"_backward: grad: expected the shape \[3\], got \[2\]"):
        ops.fake_quantize_learned_backward(
            torch.ones(2), torch.ones(3), torch.ones(1), torch.zeros(1), axis=-1, **ALL
        )
