"""lookup: rule 11."""

import pytest
import torch

from ops import layouts
from ops.reference import FORMATS, code_range, same_bits


@pytest.mark.parametrize("bits, kind", [f for f in FORMATS if f[1] != "narrow"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int8])
def test_every_code(ops, bits, kind, dtype):
    low, high = code_range(bits, kind)
    table = (torch.randn(2**bits) * 50).to(dtype)
    codes = torch.arange(low, high + 1).to(torch.int8 if low < 0 else torch.uint8).repeat(3)
    same_bits(ops.lookup(codes, table, quant_min=low), table.repeat(3))


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_layouts(ops, layout):
    codes = layouts.lay_out(torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8), layout)
    table = torch.randn(256)
    out = ops.lookup(codes, table, quant_min=0)
    same_bits(out, table[codes.long()])
    assert out.stride() == torch.empty_like(codes).stride()


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_scalar_and_empty(ops, shape):
    out = ops.lookup(torch.zeros(shape, dtype=torch.uint8), torch.ones(16), quant_min=0)
    same_bits(out, torch.ones(shape))


def test_a_byte_that_is_no_code_stays_inside_the_table(ops):
    codes = torch.tensor([-128, -9, 8, 127], dtype=torch.int8)
    table = torch.arange(16.0)
    assert ops.lookup(codes, table, quant_min=-8).tolist() == [0, 0, 15, 15]


def test_errors(ops):
    codes = torch.zeros(3, dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=r"lookup: table: expected one axis of 2\^bits .* got \[255\]"
    ):
        ops.lookup(codes, torch.ones(255), quant_min=0)
    with pytest.raises(ValueError, match="table: expected float32, uint8 or int8, got Double"):
        ops.lookup(codes, torch.ones(256).double(), quant_min=0)
    with pytest.raises(ValueError, match="quant_min: expected the smallest code .* got -8"):
        ops.lookup(codes, torch.ones(256), quant_min=-8)
    with pytest.raises(ValueError, match="codes: expected codes in uint8 or int8, got Float"):
        ops.lookup(torch.ones(3), torch.ones(256), quant_min=0)
