"""linear_int: rule 6."""

import pytest
import torch

from ops.reference import same_bits
from ops.test_conv_int import DTYPES, random_codes


def expected_of(codes, zero, weight):
    return ((codes.long() - zero) @ weight.long().T).double().float()


@pytest.mark.parametrize(
    "shape, outputs", [((4, 64), 10), ((1, 1), 1), ((33,), 7), ((2, 3, 5, 19), 48), ((16, 513), 70)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward(ops, shape, outputs, dtype):
    codes, weight = random_codes(shape, dtype), random_codes((outputs, shape[-1]), torch.int8)
    for zero in (DTYPES[dtype][0], 0, 77, DTYPES[dtype][1]):
        same_bits(ops.linear_int(codes, zero, weight), expected_of(codes, zero, weight))


@pytest.mark.parametrize("columns", [2304, 65000, 65001, 66400])
@pytest.mark.parametrize("zero", [0, 200])
def test_largest_sums_round_once(ops, columns, zero):
    """Up to the longest sums that fit int32, and, where zero is 200, uncentred ones that do not."""
    codes = torch.full((3, columns), 255, dtype=torch.uint8)
    codes[1, ::2] = 254
    weight = torch.full((5, columns), 127, dtype=torch.int8)
    weight[1] = -127
    same_bits(ops.linear_int(codes, zero, weight), expected_of(codes, zero, weight))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (2, 0, 8)])
def test_empty(ops, shape):
    codes = torch.zeros(shape, dtype=torch.uint8)
    weight = torch.ones(4, shape[-1], dtype=torch.int8)
    same_bits(ops.linear_int(codes, 5, weight), torch.zeros(shape[:-1] + (4,)))


def test_strided_operands(ops):
    codes = random_codes((40, 12), torch.int8).T[::2]
    weight = random_codes((40, 9), torch.int8).T
    same_bits(ops.linear_int(codes, 3, weight), expected_of(codes, 3, weight))


def test_a_changed_weight_is_packed_anew(ops):
    codes, weight = random_codes((4, 16), torch.uint8), random_codes((8, 16), torch.int8)
    for _ in range(3):
        same_bits(ops.linear_int(codes, 7, weight), expected_of(codes, 7, weight))
        weight.copy_(random_codes(weight.shape, torch.int8))


def test_errors(ops):
    codes, weight = torch.zeros(2, 4, dtype=torch.uint8), torch.zeros(3, 4, dtype=torch.int8)
    with pytest.raises(
        ValueError, match="linear_int: codes: expected a last axis of 4, .* got .*3]"
    ):
        ops.linear_int(codes[:, :3], 0, weight)
    with pytest.raises(ValueError, match=r"weight: expected the shape \[K, C\], got \[4\]"):
        ops.linear_int(codes, 0, weight[0])
    with pytest.raises(ValueError, match="zero_point: expected a Byte code, 0..255, got -1"):
        ops.linear_int(codes, -1, weight)
    with pytest.raises(ValueError, match="weight: expected Char, got Byte"):
        ops.linear_int(codes, 0, weight.byte())
