"""quantize_weight: rules 1, 2 and 5 on the channels of a weight."""

import numpy as np
import pytest
import torch

from ops import reference
from ops.reference import F, code_range, numbers, same_bits


def expected_of(weight, axis, groups, bits, narrow, power_of_two):
    low, high = code_range(bits, "narrow" if narrow else "signed")
    w = numbers(weight.float())
    if axis == -1:
        channels = w.reshape(1, -1)
    elif axis == 0:
        channels = w.reshape(w.shape[0], -1)
    else:  # (group, column)
        split = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1)
        channels = split.transpose(0, 2, 1, 3).reshape(groups * w.shape[1], -1)
    scales, codes = [], []
    for channel in channels:
        magnitude = np.nanmax(np.abs(channel), initial=F(0))
        scale, _ = reference.qparams(-magnitude, magnitude, low, high, True, power_of_two)
        scales.append(scale)
        codes.append(reference.quantize(channel, scale, 0, -1, low, high))
    codes = np.stack(codes)
    if axis == 1:
        shape = (groups, w.shape[1], w.shape[0] // groups, -1)
        codes = codes.reshape(shape).transpose(0, 2, 1, 3)
    return torch.from_numpy(codes.reshape(w.shape)).to(torch.int8), torch.tensor(np.array(scales))


CASES = [
    ((8, 3, 3, 3), 0, 1),
    ((8, 1, 3, 3), 0, 8),
    ((10, 70), 0, 1),
    ((6, 4, 5), 0, 1),
    ((4, 6, 3, 3), 1, 1),
    ((6, 5, 3, 3), 1, 3),
    ((4, 4, 2, 2, 2), 0, 2),
    ((7, 9), -1, 1),
]


@pytest.mark.parametrize("shape, axis, groups", CASES)
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("narrow", [False, True])
def test_codes_and_scales(ops, shape, axis, groups, bits, narrow):
    weight = torch.randn(shape)
    weight.view(-1)[0] = 0
    keywords = {"axis": axis, "groups": groups, "bits": bits, "narrow": narrow}
    for power_of_two in (False, True):
        codes, scales = ops.quantize_weight(weight, **keywords, power_of_two=power_of_two)
        expected = expected_of(weight, **keywords, power_of_two=power_of_two)
        same_bits(codes, expected[0])
        same_bits(scales, expected[1])
        assert codes.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_channels_last(ops, dtype):
    weight = torch.randn(8, 16, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    keywords = {"axis": 0, "groups": 1, "bits": 8, "narrow": True, "power_of_two": False}
    codes, scales = ops.quantize_weight(weight, **keywords)
    expected = expected_of(weight, **keywords)
    same_bits(codes, expected[0])
    same_bits(scales, expected[1])


def test_dead_channel_and_not_a_number(ops):
    weight = torch.tensor([[0.0, 0.0], [float("nan"), 2.0], [float("inf"), 1.0]])
    codes, scales = ops.quantize_weight(
        weight, axis=0, groups=1, bits=8, narrow=True, power_of_two=False
    )
    assert scales.tolist() == [2.0**-40, pytest.approx(2 / 127), 2.0**100]
    assert codes.tolist() == [[0, 0], [0, 127], [127, 0]]


def test_errors(ops):
    weight = torch.randn(6, 5, 3)
    keywords = {"axis": 0, "groups": 1, "bits": 8, "narrow": True, "power_of_two": False}
    with pytest.raises(ValueError, match="quantize_weight: axis: expected -1 .*, got 2"):
        ops.quantize_weight(weight, **keywords | {"axis": 2})
    with pytest.raises(
        ValueError, match=r"groups: expected a divisor of the first axis \(6\), got 4"
    ):
        ops.quantize_weight(weight, **keywords | {"groups": 4})
    with pytest.raises(ValueError, match="bits: expected an integer from 2 to 8, got 1"):
        ops.quantize_weight(weight, **keywords | {"bits": 1})
    with pytest.raises(ValueError, match="weight: expected float32, bfloat16 or float16, got Int"):
        ops.quantize_weight(weight.int(), **keywords)


LIST_OPTIONS = ("axis", "groups", "bits", "narrow", "power_of_two")


def random_weights(count):
    """Weights of every kind of layout, from one element to many threads' shares."""
    weights, options = [], {name: [] for name in LIST_OPTIONS}
    for i in range(count):
        shape, axis, groups = CASES[i % len(CASES)] if i % 5 else ((64 + i, 40, 3, 3), 0, 1)
        weight = torch.randn(shape)
        if i % 3 == 0 and weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        weights.append(weight)
        for name, value in zip(
            LIST_OPTIONS, (axis, groups, 2 + i % 7, i % 2 == 0, i % 3 == 1), strict=True
        ):
            options[name].append(value)
    return weights, options


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 70])
def test_a_list_gives_what_each_weight_gives(ops, threads, count):
    weights, options = random_weights(count)
    torch.set_num_threads(threads)
    codes, scales = ops.quantize_weights(weights, **options)
    torch.set_num_threads(2)
    assert len(codes) == len(scales) == count
    for i, weight in enumerate(weights):
        one = {name: values[i] for name, values in options.items()}
        expected = ops.quantize_weight(weight, **one)
        same_bits(codes[i], expected[0])
        same_bits(scales[i], expected[1])
        assert codes[i].stride() == expected[0].stride()


def test_empty_weights_in_a_list(ops):
    weights = [torch.zeros(0, 3), torch.ones(2, 3), torch.zeros(4, 0), torch.full((1, 1), 2.0)]
    options = {"axis": [0] * 4, "groups": [1] * 4, "bits": [8] * 4}
    options |= {"narrow": [True] * 4, "power_of_two": [False] * 4}
    codes, scales = ops.quantize_weights(weights, **options)
    assert [c.shape for c in codes] == [w.shape for w in weights]
    assert codes[1].tolist() == [[127] * 3] * 2 and codes[3].tolist() == [[127]]
    assert scales[2].tolist() == [2.0**-40] * 4 and scales[0].numel() == 0


def test_errors_of_a_list(ops):
    weights, options = random_weights(3)
    with pytest.raises(
        ValueError, match=r"quantize_weights: bits: expected one entry per weight \(3\), got 2"
    ):
        ops.quantize_weights(weights, **options | {"bits": [8, 8]})
    with pytest.raises(
        ValueError, match=r"quantize_weights: weights\[1\]: bits: expected an integer .* got 9"
    ):
        ops.quantize_weights(weights, **options | {"bits": [8, 9, 8]})
    with pytest.raises(ValueError, match=r"weights\[2\]: weight: expected float32, .* got Int"):
        ops.quantize_weights([*weights[:2], weights[2].int()], **options)
