"""Sample arguments of every operator: {name: [(arguments, keywords), ...]}."""

import torch

from ops.chains import quantizer, random_chain
from ops.test_conv_int import geometry, random_codes

ONE, ZERO = torch.tensor([0.05]), torch.tensor([3], dtype=torch.int32)
UNSIGNED = {"quant_min": 0, "quant_max": 255}
PRODUCTS = ("float32", "int16", "bfloat16")


def _channels(count):
    return torch.linspace(0.01, 0.1, count), torch.arange(count, dtype=torch.int32)


def _elementwise(grad=False):
    image = torch.randn(2, 24, 5, 3)
    last = image.contiguous(memory_format=torch.channels_last)
    found = [((image, ONE, ZERO), {"axis": -1} | UNSIGNED)]
    found.append(((last, *_channels(24)), {"axis": 1} | UNSIGNED))
    found.append(((torch.randn(7, 9), *_channels(7)), {"axis": 0, "quant_min": -8, "quant_max": 7}))
    if not grad:
        return found
    return [((torch.randn_like(a[0]), *a), k) for a, k in found]


def _masked():
    """Gradients in memory orders of their own, and masks with bits of no element."""
    image = torch.randn(2, 24, 5, 3).contiguous(memory_format=torch.channels_last)
    found = [
        (image, image.stride()),
        (torch.randn(7, 9), (1, 7)),
        (torch.randn(5, 1, 1), (1, 77, 8)),
    ]
    return [
        ((grad, torch.randint(256, ((grad.numel() + 7) // 8,), dtype=torch.uint8)), {"stride": s})
        for grad, s in found
    ]


def _differentiable():
    return [((a[0].requires_grad_(), *a[1:]), k) for a, k in _elementwise()]


def _learned(calls):
    """The same calls with a zero point in float32; the last three tensors as they are learned."""
    found = []
    for arguments, keywords in calls:
        *front, zero = arguments
        learned = [*front, zero.float() + 0.25]
        if front[-2].requires_grad:
            learned[1:] = [tensor.clone().requires_grad_() for tensor in learned[1:]]
        clipped_only = len(found) % 2 == 1
        found.append(
            (tuple(learned), keywords | {"grad_scale": 0.125, "clipped_only": clipped_only})
        )
    return found


def _chains():
    found = [random_chain((2, 24, 5, 3), 1, "relu")]
    found.append(random_chain((2, 8, 5, 3), 1, "leaky_relu", torch.uint8, prelu=True))
    found.append(random_chain((6, 10), 1, "clamp", torch.float32))
    return found


def _statistics():
    return [((c.acc, c.multiplier, c.bias), {"axis": c.axis}) for c in _chains()]


def _bn_act_quantize():
    scale, zero, _ = quantizer()
    return [
        ((*c.tensors(), scale, zero), c.keywords() | UNSIGNED | {"observe": True})
        for c in _chains()
    ]


def _backward():
    scale, zero, _ = quantizer()
    found = []
    for c in _chains():
        count = c.acc.shape[c.axis]
        batch_norm = torch.rand(count) * 1e-3, torch.randn(count), torch.randn(count)
        flags = UNSIGNED | {"through_statistics": True, "residual_grad": c.residual is not None}
        tensors = torch.randn_like(c.acc), *c.tensors(), scale, zero, *batch_norm
        found.append((tensors, c.keywords() | flags))
    flags = UNSIGNED | {"through_statistics": False, "residual_grad": False}
    tensors = torch.randn_like(c.acc), *c.tensors(), None, None, None, None, None
    narrow = found[0][0][0], found[0][0][1].half(), *found[0][0][2:]
    learned = [(a, k | {"learned": True, "clipped_only": i == 1}) for i, (a, k) in enumerate(found)]
    return [*found, *learned, (tensors, c.keywords() | flags), (narrow, found[0][1])]


def _conv_int():
    codes = random_codes((2, 8, 7, 6), torch.uint8)
    found = [((codes, 3, random_codes((4, 8, 3, 3), torch.int8)), geometry(2, 2, 1))]
    line = random_codes((2, 6, 9), torch.int8)
    found.append(((line, -3, random_codes((6, 1, 3), torch.int8)), geometry(1, groups=6)))
    up = geometry(2, 2, 1, output_padding=1, transposed=True)
    found.append(((codes, 3, random_codes((8, 4, 3, 3), torch.int8)), up))
    found.append(((codes[0], 3, random_codes((4, 8, 3, 3), torch.int8)), geometry(2)))
    return found


def _conv_int_backward():
    found = []
    for (codes, _, weight), keywords in _conv_int()[:3]:
        rank = weight.dim() - 2
        with torch.no_grad():
            grad = torch.randn_like(torch.ops.qat_ext.conv_int(codes, 0, weight, **keywords))
        tensors = grad, codes, ONE, ZERO, weight, torch.rand(grad.shape[1])
        wanted = {"input_grad": True, "weight_grad": rank == 2}
        found += [(tensors, keywords | wanted | {"products": name}) for name in PRODUCTS]
    return found


def _observe():
    def state(count):
        return torch.zeros(count), torch.zeros(count), torch.zeros(1, dtype=torch.int64)

    x = torch.randn(2, 5, 3)
    return [
        ((x, *state(1)), {"axis": -1, "momentum": 0.1}),
        ((x, *state(5)), {"axis": 1, "momentum": 1.0}),
    ]


def _histogram():
    def state(exponent):
        counts = torch.zeros(2048, dtype=torch.int64)
        extremes = torch.tensor([float("inf"), -float("inf")])
        return counts, torch.tensor([exponent]), extremes, torch.zeros(2, dtype=torch.int64)

    wide = torch.randn(40000) * 1e3
    return [((torch.randn(2, 5, 4, 3), *state(-50)), {}), ((wide, *state(-3)), {})]


def _weights():
    weights = [torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3), torch.randn(6, 4)]
    options = {"axis": [0, 1, -1], "groups": [1, 2, 1], "bits": [8, 4, 3]}
    options |= {"narrow": [True, False, False], "power_of_two": [False, False, True]}
    return [((weights,), options)]


def samples():
    codes = torch.randint(0, 256, (2, 8, 3, 3), dtype=torch.uint8)
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([2.0, 0.5])
    chosen = {"bits": 8, "is_signed": True, "narrow": True, "symmetric": True}
    weight = {"axis": 0, "groups": 1, "bits": 4, "narrow": False, "power_of_two": True}
    lines = random_codes((2, 3, 16), torch.uint8), 7, random_codes((5, 16), torch.int8)
    scale, zero, _ = quantizer()
    five = [torch.rand(5) for _ in range(6)]
    return {
        "fake_quantize": _elementwise() + _differentiable(),
        "fake_quantize_backward": _elementwise(grad=True),
        "fake_quantize_learned": _learned(_elementwise() + _differentiable()),
        "fake_quantize_learned_backward": _learned(_elementwise(grad=True)),
        "fake_quantize_with_mask": _elementwise() + _differentiable(),
        "straight_through": _masked(),
        "quantize": _elementwise() + _differentiable(),
        "quantize_with_mask": _elementwise() + _differentiable(),
        "dequantize": [
            ((codes, ONE, ZERO), {"axis": -1}),
            ((codes, *_channels(8)), {"axis": 1}),
        ],
        "observe_minmax_": _observe(),
        "observe_histogram_": _histogram(),
        "choose_qparams": [((low, high), chosen | {"power_of_two": False})],
        "quantize_weight": [
            ((torch.randn(6, 4, 3, 3),), weight),
            ((torch.randn(6, 4, 3),), weight | {"axis": 1, "groups": 2}),
            ((torch.randn(6, 4),), weight | {"axis": -1}),
        ],
        "quantize_weights": _weights(),
        "lookup": [((codes, torch.randn(256)), {"quant_min": 0})],
        "sum_codes": [((codes, 3), {}), ((codes[:, :1, :0], 0), {})],
        "conv_int": _conv_int(),
        "conv_int_backward": _conv_int_backward(),
        "linear_int": [(lines, {})],
        "requantize": [
            ((c.acc, c.multiplier, c.bias, scale, zero), {"axis": c.axis} | UNSIGNED)
            for c in _chains()
        ],
        "batch_statistics": _statistics(),
        "fold_batch_norm": [
            (tuple(five), {"eps": 1e-5}),
            ((None,) * 4 + (*five[:2],), {"eps": 0.0}),
        ],
        "affine_half": _statistics(),
        "bn_act": [(c.tensors(), c.keywords()) for c in _chains()],
        "bn_act_quantize": _bn_act_quantize(),
        "bn_act_quantize_backward": _backward(),
    }
