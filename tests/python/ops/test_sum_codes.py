"""sum_codes: the sums of rule 10."""

import pytest
import torch

from ops import layouts

SHAPES = [(1, 1), (2, 3), (3, 5, 7), (2, 64, 9), (2, 65, 4, 5), (1, 200, 3, 2, 4), (2, 3, 1, 4099)]


def expected(codes, zero_point):
    return (codes.long() - zero_point).reshape(*codes.shape[:2], -1).sum(-1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_sums_over_positions(ops, shape, dtype):
    info = torch.iinfo(dtype)
    codes = torch.randint(info.min, info.max + 1, shape, dtype=dtype)
    for zero_point in (info.min, 0, info.max):
        sums = ops.sum_codes(codes, zero_point)
        assert sums.dtype == torch.int64
        assert torch.equal(sums, expected(codes, zero_point))


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_layouts(ops, layout):
    codes = layouts.lay_out(torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8), layout)
    assert torch.equal(ops.sum_codes(codes, 7), expected(codes, 7))


def test_more_positions_than_32_bits_can_sum(ops):
    codes = torch.full((1, 1, 1), 255, dtype=torch.uint8).expand(1, 1, 9_000_000)
    assert ops.sum_codes(codes, 0).item() == 255 * 9_000_000  # above 2^31


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_empty(ops, shape):
    sums = ops.sum_codes(torch.zeros(shape, dtype=torch.uint8), 1)
    assert torch.equal(sums, torch.zeros(shape[:2], dtype=torch.int64))


def test_errors(ops):
    codes = torch.zeros(3, dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=r"sum_codes: codes: expected the shape \[N, C, positions...\], got \[3\]"
    ):
        ops.sum_codes(codes, 0)
    with pytest.raises(ValueError, match="sum_codes: zero_point: .* got 256"):
        ops.sum_codes(codes.view(1, 3), 256)
    with pytest.raises(ValueError, match="sum_codes: codes: expected codes in .* got Float"):
        ops.sum_codes(torch.ones(1, 3), 0)
