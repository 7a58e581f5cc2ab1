"""Calls whose work is several blocks of a CUDA grid, with ends that fill none of its units."""

import itertools

import torch

from ops.chains import RESIDUALS, quantizer, random_chain
from ops.reference import ACTIVATIONS
from ops.samples import UNSIGNED
from ops.test_conv_int import geometry, random_codes

SIGNED = {"quant_min": -128, "quant_max": 127}
# Channels first and last, few and many, and lengths that are no multiple of a pack (4 or 16).
SHAPES = [((3, 24, 17, 13), 1), ((2, 5, 47, 31), 1), ((5, 1031), 0), ((9, 130), 1), ((3, 1500), 1)]


def _parameters(channels):
    return torch.rand(channels) * 0.1 + 0.01, torch.arange(channels, dtype=torch.int32) % 200


def _elementwise():
    found = [((torch.randn(n), *_parameters(1)), {"axis": -1} | UNSIGNED) for n in (1, 10007)]
    for shape, axis in SHAPES:
        found.append(((torch.randn(shape), *_parameters(shape[axis])), {"axis": axis} | UNSIGNED))
    return found + [((torch.randn(0, 3), *_parameters(1)), {"axis": -1} | UNSIGNED)]


def _with_gradient(calls):
    return [((torch.randn_like(a[0]), *a), k) for a, k in calls]


def _masked():
    found = []
    for (shape, _), extra in itertools.product(SHAPES, (0, 1)):
        grad = torch.randn(*shape[:-1], shape[-1] + extra)
        mask = torch.randint(256, ((grad.numel() + 7) // 8,), dtype=torch.uint8)
        found.append(((grad, mask), {"stride": list(grad.stride())}))
    found.append(((torch.randn(()), mask[:1]), {"stride": []}))
    return [*found, ((torch.randn(2, 0, 3), mask[:0]), {"stride": [9, 5, 1]})]


def _learned(calls):
    for clipped_only, (arguments, keywords) in zip(itertools.cycle([False, True]), calls):
        *front, zero = arguments
        keywords = keywords | {"grad_scale": 0.3, "clipped_only": clipped_only}
        yield (*front, zero.float() - 0.75), keywords


def _dequantize():
    codes = [random_codes(shape, torch.int8) for shape, _ in SHAPES]
    calls = [
        ((q, *_parameters(s[a])), {"axis": a}) for q, (s, a) in zip(codes, SHAPES, strict=True)
    ]
    return calls + [((random_codes((10007,), torch.uint8), *_parameters(1)), {"axis": -1})]


def _chains():
    found = []
    for i, (residual, activation) in enumerate(itertools.product(RESIDUALS, ACTIVATIONS)):
        shape, axis = SHAPES[i % len(SHAPES)]
        prelu = activation == "leaky_relu" and i % 2 == 1
        axis = max(axis, 1)
        found.append(random_chain(shape, axis, activation, residual, prelu, plain=i % 3 == 2))
    found.append(random_chain((2, 4, 0, 3), 1))
    special = random_chain((2, 24, 17, 13), 1, "relu")
    special.acc[0, :4, 0, 0] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    return [*found, special]


def _quantizers(chain):
    channels = chain.acc.shape[chain.axis]
    yield *quantizer()[:2], UNSIGNED
    yield *quantizer(channels, signed=True)[:2], SIGNED


def _bn_act_quantize():
    return [
        ((*c.tensors(), scale, zero), c.keywords() | codes | {"observe": observe})
        for i, c in enumerate(_chains())
        for scale, zero, codes in itertools.islice(_quantizers(c), i % 2, i % 2 + 1)
        for observe in (False, True)
    ]


def _requantize():
    return [
        ((c.acc, c.multiplier, c.bias, scale, zero), {"axis": c.axis} | codes)
        for c in _chains()
        if c.multiplier is not None
        for scale, zero, codes in _quantizers(c)
    ]


def _backward():
    found = []
    for i, c in enumerate(_chains()):
        count = c.acc.shape[c.axis]
        batch_norm = torch.rand(count) * 1e-3, torch.randn(count), torch.randn(count)
        for scale, zero, codes in _quantizers(c):
            flags = {"through_statistics": True, "residual_grad": i % 2 == 0, "learned": i % 3 > 0}
            flags["clipped_only"] = i % 3 == 2
            tensors = torch.randn_like(c.acc), *c.tensors(), scale, zero, *batch_norm
            found.append((tensors, c.keywords() | codes | flags))
        tensors = torch.randn_like(c.acc), *c.tensors(), None, None, None, None, None
        flags = {"through_statistics": False, "residual_grad": True}
        found.append((tensors, c.keywords() | UNSIGNED | flags))
    return found


def _statistics():
    return [((c.acc, c.multiplier, c.bias), {"axis": c.axis}) for c in _chains()]


def _half():
    too_large = torch.full((5000, 3), 60000.0)
    too_large[4999, 2] = 65520.0  # the first one that would round to infinity
    return [*_statistics(), ((too_large, None, None), {"axis": 1})]


def _minmax():
    found = []
    for i, (axis, (shape, _)) in enumerate(itertools.product((-1, 0, 1), SHAPES)):
        channels = 1 if axis == -1 else shape[axis]
        state = torch.randn(channels), torch.randn(channels) + 3, torch.tensor([i % 3])
        found.append(((torch.randn(shape), *state), {"axis": axis, "momentum": (0.1, 1.0)[i % 2]}))
    return found


def _histogram():
    def state(exponent):
        counts = torch.randint(0, 9, (2048,))
        extremes = torch.tensor([float("inf"), -float("inf")])
        return counts, torch.tensor([exponent]), extremes, torch.tensor([3, 4])

    x = torch.randn(200003) * 50
    x[::7], x[100000], x[1] = 0.0, float("nan"), float("inf")
    return [((x, *state(e)), {}) for e in (-50, -6, -4, 2, 118)]


def _choose_qparams():
    low, high = -torch.rand(3001) * 3, torch.rand(3001) * 5
    low[::5], high[::7] = 0.0, 0.0
    found = []
    for bits, signed, narrow, symmetric, power in itertools.product(
        (2, 8), (False, True), (False, True), (False, True), (False, True)
    ):
        if narrow and not signed:
            continue
        options = {"bits": bits, "is_signed": signed, "narrow": narrow, "symmetric": symmetric}
        lowest = low * 0 if symmetric and not signed else low
        found.append(((lowest, high), options | {"power_of_two": power}))
    return found


def _weights():
    found = []
    for shape, axis, groups in [
        ((7, 64, 13, 11), 0, 1),  # two parts for each channel
        ((1031, 9), 0, 1),
        ((12, 100, 5), 1, 3),
        ((8, 6, 41, 41), 1, 2),
        ((10007,), -1, 1),
        ((3, 0, 3, 3), 0, 1),
    ]:
        options = {"axis": axis, "groups": groups, "bits": 8, "narrow": True, "power_of_two": False}
        weight = torch.randn(shape)
        weight.view(-1)[-1:] = 9.0  # the largest one is the last one
        found.append((weight, options))
    special = torch.randn(5, 33)
    special[0], special[1, 3], special[2, 4], special[3] = 0.0, float("nan"), float("inf"), 1e-44
    return [*found, (special, found[1][1] | {"bits": 2, "narrow": False, "power_of_two": True})]


def _many_weights():
    """More than one launch takes."""
    known = [w for w in _weights() if 1 < w[0].numel() < 2000 or w[0].dim() == 4] * 12
    options = {key: [o[key] for _, o in known] for key in known[0][1]}
    return [(([w for w, _ in known],), options)]


def _lookup():
    found = []
    for dtype, low in ((torch.uint8, 0), (torch.int8, -128)):
        codes = random_codes((10007,), dtype)
        found += [
            ((codes, torch.randn(256)), {"quant_min": low}),
            ((codes, random_codes((256,), torch.uint8)), {"quant_min": low}),
            ((codes, random_codes((256,), torch.int8)), {"quant_min": low}),
        ]
    return found


def _linear_int():
    found = []
    for rows, filters, depth in [
        (70, 50, 100),
        (33, 17, 99),
        (1, 1, 1),
        (130, 129, 65),
        (64, 64, 64),
        (3, 5, 0),
        (257, 7, 32),
    ]:
        for dtype, zero in ((torch.uint8, 255), (torch.uint8, 0), (torch.int8, -128)):
            codes = random_codes((rows, depth), dtype)
            found.append(((codes, zero, random_codes((filters, depth), torch.int8)), {}))
    # Longer than one sum of int32 may be.
    long = random_codes((1, 70001), torch.uint8), 100, random_codes((3, 70001), torch.int8)
    extreme = torch.full((2, 140000), -128, dtype=torch.int8)
    return [*found, (long, {}), ((extreme, 127, extreme[:1]), {})]


def _conv_int():
    found = []
    for shape, weight, options in [
        ((2, 16, 15, 14), (24, 16, 3, 3), {"padding": 1}),
        ((3, 7, 13, 11), (9, 7, 3, 2), {"stride": 2, "padding": 2, "dilation": 2}),
        ((2, 32, 14, 14), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
        ((2, 24, 9, 9), (40, 6, 3, 3), {"padding": 1, "groups": 4}),
        ((4, 64, 8, 8), (130, 64, 1, 1), {}),
        ((1, 3, 33, 35), (17, 3, 7, 7), {"stride": 2, "padding": 3}),
        ((2, 5, 300), (6, 5, 9), {"padding": 4}),
        ((1, 8, 6, 7, 9), (10, 8, 3, 3, 3), {"padding": 1}),
        ((2, 8, 9, 7), (8, 5, 3, 3), {"stride": 2, "transposed": True, "output_padding": 1}),
        (
            (1, 12, 9, 7),
            (12, 4, 4, 2),
            {"stride": 2, "padding": 1, "groups": 3} | {"transposed": True},
        ),
    ]:
        for dtype, zero in ((torch.uint8, 200), (torch.int8, -128)):
            codes = random_codes(shape, dtype)
            keywords = geometry(len(shape) - 2, **options)
            found.append(((codes, zero, random_codes(weight, torch.int8)), keywords))
    long = (
        random_codes((1, 66000, 1, 2), torch.uint8),
        9,
        random_codes((2, 66000, 1, 1), torch.int8),
    )
    return [*found, (long, geometry(2))]


def _sum_codes():
    shapes = [(3, 70, 9, 7), (2, 1, 5000), (1, 1500, 2), (2, 3, 0)]
    zeros = [(torch.uint8, 200), (torch.int8, -128)]
    return [((random_codes(s, dtype), zero), {}) for s in shapes for dtype, zero in zeros]


def _fold_batch_norm():
    every = [torch.rand(3001) + 0.01 for _ in range(6)]
    return [
        (tuple(every), {"eps": 1e-5}),
        ((None, every[1], None, every[3], *every[4:]), {"eps": 1e-3}),
        ((every[0], None, every[2], None, *every[4:]), {"eps": 0.0}),
    ]


CALLS = {
    "fake_quantize": _elementwise,
    "fake_quantize_backward": lambda: _with_gradient(_elementwise()),
    "fake_quantize_learned": lambda: list(_learned(_elementwise())),
    "fake_quantize_learned_backward": lambda: list(_learned(_with_gradient(_elementwise()))),
    "fake_quantize_with_mask": _elementwise,
    "straight_through": _masked,
    "quantize": _elementwise,
    "quantize_with_mask": _elementwise,
    "dequantize": _dequantize,
    "observe_minmax_": _minmax,
    "observe_histogram_": _histogram,
    "choose_qparams": _choose_qparams,
    "quantize_weight": lambda: [((w,), options) for w, options in _weights()],
    "quantize_weights": _many_weights,
    "lookup": _lookup,
    "conv_int": _conv_int,
    "linear_int": _linear_int,
    "sum_codes": _sum_codes,
    "requantize": _requantize,
    "batch_statistics": _statistics,
    "fold_batch_norm": _fold_batch_norm,
    "affine_half": _half,
    "bn_act": lambda: [(c.tensors(), c.keywords()) for c in _chains()],
    "bn_act_quantize": _bn_act_quantize,
    "bn_act_quantize_backward": _backward,
}
