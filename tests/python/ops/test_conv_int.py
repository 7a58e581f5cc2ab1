"""conv_int: rule 6. The reference is torch's float64 convolution, exact on integers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from ops.reference import same_bits

FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}

# input, weight, stride, padding, dilation, groups
CASES = [
    ((2, 3, 9, 8), (8, 3, 3, 3), 1, 1, 1, 1),
    ((2, 64, 7, 7), (32, 64, 3, 3), 2, 1, 1, 1),
    ((1, 16, 6, 6), (24, 16, 1, 1), 1, 0, 1, 1),
    ((2, 24, 8, 9), (24, 1, 3, 3), 1, 1, 1, 24),
    ((2, 24, 8, 9), (24, 1, 5, 5), 2, 2, 1, 24),
    ((2, 24, 8, 9), (48, 1, 3, 3), 1, 1, 1, 24),
    ((1, 32, 6, 6), (16, 8, 3, 3), 1, 1, 1, 4),
    ((1, 5, 11, 11), (7, 5, 3, 3), 1, 2, 2, 1),
    ((1, 4, 5, 5), (3, 4, 1, 3), 1, 3, 1, 1),
    ((2, 3, 32, 32), (64, 3, 7, 7), 2, 3, 1, 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    ((2, 6, 20), (4, 6, 5), 2, 2, 1, 1),
    ((2, 6, 20), (6, 1, 3), 1, 2, 2, 6),
    ((1, 4, 5, 6, 4), (6, 4, 3, 3, 3), 1, 1, 1, 1),
    ((1, 4, 5, 6, 4), (4, 2, 2, 3, 2), 2, 0, 1, 2),
]
DTYPES = {torch.uint8: (0, 255), torch.int8: (-128, 127)}


def random_codes(shape, dtype):
    low, high = DTYPES[dtype]
    return torch.randint(low, high + 1, shape).to(dtype)


def geometry(rank, stride=1, padding=0, dilation=1, output_padding=0, groups=1, transposed=False):
    return {
        "stride": [stride] * rank,
        "padding": [padding] * rank,
        "dilation": [dilation] * rank,
        "output_padding": [output_padding] * rank,
        "groups": groups,
        "transposed": transposed,
    }


def expected_of(codes, zero, weight, g):
    rank = weight.dim() - 2
    centred, w = codes.double() - zero, weight.double()
    if g["transposed"]:
        return TRANSPOSED[rank](
            centred,
            w,
            stride=g["stride"],
            padding=g["padding"],
            output_padding=g["output_padding"],
            groups=g["groups"],
            dilation=g["dilation"],
        ).float()
    return FORWARD[rank](
        centred, w, None, g["stride"], g["padding"], g["dilation"], g["groups"]
    ).float()


@pytest.mark.parametrize("shape, weight_shape, stride, padding, dilation, groups", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward(ops, shape, weight_shape, stride, padding, dilation, groups, dtype):
    codes, weight = random_codes(shape, dtype), random_codes(weight_shape, torch.int8)
    g = geometry(len(weight_shape) - 2, stride, padding, dilation, 0, groups)
    for zero in (DTYPES[dtype][0], 0, 77, DTYPES[dtype][1]):
        actual = ops.conv_int(codes, zero, weight, **g)
        same_bits(actual, expected_of(codes, zero, weight, g))
        assert actual.movedim(1, -1).is_contiguous()


TRANSPOSED_CASES = [
    ((2, 4, 5, 5), (4, 6, 3, 3), 2, 1, 1, 1, 1),
    ((1, 6, 5, 4), (6, 2, 2, 2), 2, 0, 1, 0, 3),
    ((1, 4, 7), (4, 3, 4), 3, 1, 1, 2, 1),
    ((1, 4, 3, 3, 3), (4, 2, 3, 3, 3), 2, 1, 2, 1, 2),
]


@pytest.mark.parametrize("case", TRANSPOSED_CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed(ops, case, dtype):
    shape, weight_shape, stride, padding, dilation, output_padding, groups = case
    codes, weight = random_codes(shape, dtype), random_codes(weight_shape, torch.int8)
    g = geometry(
        len(weight_shape) - 2, stride, padding, dilation, output_padding, groups, transposed=True
    )
    actual = ops.conv_int(codes, 9, weight, **g)
    same_bits(actual, expected_of(codes, 9, weight, g))
    assert actual.movedim(1, -1).is_contiguous()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unbatched(ops, rank):
    codes, weight = (
        random_codes((4,) + (6,) * rank, torch.uint8),
        random_codes((5, 4) + (3,) * rank, torch.int8),
    )
    g = geometry(rank, padding=1)
    same_bits(ops.conv_int(codes, 3, weight, **g), expected_of(codes, 3, weight, g))


@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "every_second"])
def test_memory_orders(ops, layout):
    from ops.layouts import lay_out

    codes = lay_out(random_codes((2, 16, 6, 6), torch.int8), layout)
    weight = lay_out(random_codes((8, 16, 3, 3), torch.int8), layout)
    g = geometry(2, padding=1)
    same_bits(ops.conv_int(codes, -5, weight, **g), expected_of(codes, -5, weight, g))


@pytest.mark.parametrize("zero", [0, 1, 255])
def test_largest_sums_round_once(ops, zero):
    """Sums above 2^24 are rounded to float32; 255 * 127 * 2304 needs 27 bits."""
    codes = torch.full((1, 256, 4, 4), 255, dtype=torch.uint8)
    codes[0, 0, 0, 0] = 254
    weight = torch.full((3, 256, 3, 3), 127, dtype=torch.int8)
    weight[1] = -128
    g = geometry(2, padding=1)
    same_bits(ops.conv_int(codes, zero, weight, **g), expected_of(codes, zero, weight, g))


def test_empty(ops):
    g = geometry(2, padding=1)
    weight = torch.ones(5, 3, 3, 3, dtype=torch.int8)
    out = ops.conv_int(torch.zeros(0, 3, 6, 6, dtype=torch.uint8), 0, weight, **g)
    assert out.shape == (0, 5, 6, 6) and out.dtype == torch.float32
    none = torch.zeros(2, 0, 6, 6, dtype=torch.uint8)
    out = ops.conv_int(none, 0, torch.ones(5, 0, 3, 3, dtype=torch.int8), **g)
    same_bits(out, torch.zeros(2, 5, 6, 6))


def test_a_changed_weight_is_packed_anew(ops):
    codes, g = random_codes((1, 8, 5, 5), torch.uint8), geometry(2)
    weight = random_codes((4, 8, 3, 3), torch.int8)
    for _ in range(3):
        same_bits(ops.conv_int(codes, 1, weight, **g), expected_of(codes, 1, weight, g))
        weight.copy_(random_codes(weight.shape, torch.int8))
    for _ in range(50):  # the allocator hands the freed address out again
        weight = random_codes((4, 8, 3, 3), torch.int8)
        same_bits(ops.conv_int(codes, 1, weight, **g), expected_of(codes, 1, weight, g))
        del weight


def test_one_weight_in_two_geometries_and_zero_points(ops):
    codes, weight = random_codes((1, 8, 7, 7), torch.uint8), random_codes((4, 8, 3, 3), torch.int8)
    for zero in (0, 5, 0, 9):
        for g in (geometry(2), geometry(2, 2, 1), geometry(2, 1, 2, 2)):
            same_bits(ops.conv_int(codes, zero, weight, **g), expected_of(codes, zero, weight, g))


def test_inference_mode(ops):
    with torch.inference_mode():
        codes = random_codes((1, 8, 5, 5), torch.uint8)
        weight, g = random_codes((4, 8, 3, 3), torch.int8), geometry(2)
        same_bits(ops.conv_int(codes, 1, weight, **g), expected_of(codes, 1, weight, g))


@pytest.mark.parametrize("capability", ["generic", "avx2"])
def test_every_instruction_set(capability):
    """The best one of this machine is what the other tests run."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "ops/test_conv_int.py", "ops/test_linear_int.py"]
        + ["-k", "largest or forward or orders or large_results"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"QAT_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


# From 2^19 elements on a result is written past the caches, where the channels allow it; several
# blocks of channels are computed in turn, or, with more than 256 KB of weights, one after another.
LARGE = [
    ((2, 16, 56, 56), (96, 16, 1, 1), 1, 0, 1),
    ((2, 96, 56, 57), (96, 1, 3, 3), 1, 1, 96),
    ((4, 32, 64, 65), (32, 1, 3, 3), 1, 1, 32),
    ((1, 144, 62, 60), (144, 1, 5, 5), 1, 2, 144),
    ((2, 16, 45, 44), (144, 8, 1, 1), 1, 0, 2),
    ((2, 16, 45, 44), (160, 8, 1, 1), 1, 0, 2),
    ((2, 20, 45, 44), (150, 20, 3, 3), 1, 1, 1),
    ((1, 512, 23, 23), (1024, 512, 1, 1), 1, 0, 1),
    ((1, 3, 228, 224), (64, 3, 7, 7), 2, 3, 1),
]


@pytest.mark.parametrize("shape, weight_shape, stride, padding, groups", LARGE)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_large_results(ops, shape, weight_shape, stride, padding, groups, threads, order):
    torch.set_num_threads(threads)
    codes = random_codes(shape, torch.uint8).contiguous(memory_format=order)
    weight = random_codes(weight_shape, torch.int8).contiguous(memory_format=order)
    g = geometry(2, stride, padding, groups=groups)
    expected = expected_of(codes, 131, weight, g)
    assert expected.numel() >= 2**19
    same_bits(ops.conv_int(codes, 131, weight, **g), expected)


CODES, WEIGHT = (
    torch.zeros(1, 4, 5, 5, dtype=torch.uint8),
    torch.zeros(6, 4, 3, 3, dtype=torch.int8),
)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"codes": CODES.float()}, "codes: expected codes in uint8 or int8, got Float"),
        ({"weight": WEIGHT.float()}, "weight: expected Char, got Float"),
        ({"zero_point": 256}, "zero_point: expected a Byte code, 0..255, got 256"),
        (
            {"codes": CODES.to(torch.int8), "zero_point": 128},
            "zero_point: expected a Char code, -128..127, got 128",
        ),
        ({"codes": CODES[:, :3]}, "codes: expected 4 channels, as the weight has, got 3"),
        (
            {"codes": CODES[0, 0]},
            r"codes: expected a tensor of rank 4 or 3, got the shape \[5, 5\]",
        ),
        ({"weight": WEIGHT[0, 0]}, r"weight: expected 1 to 3 spatial axes, got the shape \[3, 3\]"),
        ({"stride": [1]}, "stride: expected 2 numbers .one per spatial axis., got 1"),
        ({"stride": [1, 0]}, "stride: expected numbers of at least 1, got 0"),
        ({"padding": [-1, 0]}, "padding: expected numbers of at least 0, got -1"),
        ({"groups": 4}, r"groups: expected a divisor of the channels \(4\) and .* \(6\), got 4"),
        ({"dilation": [3, 3]}, "weight: expected a kernel that fits the padded input"),
    ],
)
def test_errors(ops, changes, message):
    keywords = {"codes": CODES, "zero_point": 0, "weight": WEIGHT} | geometry(2) | changes
    with pytest.raises(ValueError, match="conv_int: " + message):
        ops.conv_int(**keywords)
