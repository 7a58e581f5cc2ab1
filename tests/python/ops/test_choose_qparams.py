"""choose_qparams: rule 5."""

import itertools

import pytest
import torch

from ops import reference
from ops.reference import FORMATS, code_range, same_bits

ENDS = [0.0, -0.0, 1e-45, 1e-30, 0.1, 1.0, 2.54, 6.0, 127.0, 3e38, float("inf")]
RANGES = [(-a, b) for a, b in itertools.product(ENDS, ENDS)] + [(0.5, 2.0), (-3.0, -1.0)]


@pytest.mark.parametrize("bits, kind", FORMATS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_ranges(ops, bits, kind, symmetric, power_of_two):
    low, high = code_range(bits, kind)
    ranges = [r for r in RANGES if not (symmetric and low == 0 and r[0] < 0)]
    minimum, maximum = (torch.tensor(ends) for ends in zip(*ranges, strict=True))
    scale, zero = ops.choose_qparams(
        minimum,
        maximum,
        bits=bits,
        is_signed=low < 0,
        narrow=kind == "narrow",
        symmetric=symmetric,
        power_of_two=power_of_two,
    )
    expected = [reference.qparams(*r, low, high, symmetric, power_of_two) for r in ranges]
    same_bits(scale, torch.tensor([float(s) for s, _ in expected]))
    same_bits(zero, torch.tensor([z for _, z in expected], dtype=torch.int32))


def test_known_values(ops):
    """Computed by hand: 2.55/255 with zero at 0; [-1, 1.55] puts zero at 100."""
    keywords = {"bits": 8, "is_signed": False, "narrow": False}
    keywords |= {"symmetric": False, "power_of_two": False}
    scale, zero = ops.choose_qparams(
        torch.tensor([0, -1.0]), torch.tensor([2.55, 1.55]), **keywords
    )
    assert scale.tolist() == pytest.approx([0.01, 0.01]) and zero.tolist() == [0, 100]


def test_errors(ops):
    keywords = {"bits": 8, "is_signed": False, "narrow": False}
    keywords |= {"symmetric": True, "power_of_two": False}
    low, high = torch.tensor([-1.0]), torch.tensor([1.0])
    with pytest.raises(ValueError, match="min: expected no negative value for unsigned symmetric"):
        ops.choose_qparams(low, high, **keywords)
    with pytest.raises(ValueError, match="bits: expected an integer from 2 to 8, got 9"):
        ops.choose_qparams(low, high, **keywords | {"bits": 9})
    with pytest.raises(ValueError, match="narrow: expected false for unsigned codes, got true"):
        ops.choose_qparams(low, high, **keywords | {"narrow": True})
    with pytest.raises(ValueError, match=r"max: expected the shape \[1\], got \[2\]"):
        ops.choose_qparams(low, torch.ones(2), **keywords)
    with pytest.raises(ValueError, match="min: expected Float, got Double"):
        ops.choose_qparams(low.double(), high, **keywords)
