"""observe_minmax_: the running range."""

import numpy as np
import pytest
import torch

from ops import layouts
from ops.reference import F


class Range:
    def __init__(self, channels=1):
        self.min, self.max = torch.zeros(channels), torch.zeros(channels)
        self.count = torch.zeros(1, dtype=torch.int64)

    def observe(self, ops, x, axis=-1, momentum=0.25):
        ops.observe_minmax_(x, self.min, self.max, self.count, axis=axis, momentum=momentum)
        return self.min.tolist(), self.max.tolist(), self.count.item()


def test_first_batch_sets_and_later_ones_move(ops):
    r = Range()
    assert r.observe(ops, torch.tensor([-1.0, 3.0])) == ([-1.0], [3.0], 1)
    assert r.observe(ops, torch.tensor([-3.0, 1.0])) == ([-1.5], [2.5], 2)
    assert r.observe(ops, torch.tensor([-9.0, 9.0]), momentum=1.0) == ([-9.0], [9.0], 3)
    assert r.observe(ops, torch.tensor([0.0, 1.0]), momentum=1.0) == ([-9.0], [9.0], 4)


def test_only_finite_values_count(ops):
    r = Range()
    inf, nan = float("inf"), float("nan")
    assert r.observe(ops, torch.tensor([nan, inf, -inf])) == ([0.0], [0.0], 0)
    assert r.observe(ops, torch.tensor([])) == ([0.0], [0.0], 0)
    assert r.observe(ops, torch.tensor([nan, 2.0, inf, -inf, 5.0])) == ([2.0], [5.0], 1)


@pytest.mark.parametrize("shape", [(4, 24, 5, 7), (2, 3, 40, 40), (3, 130, 2, 2)])
@pytest.mark.parametrize("layout", layouts.NAMES)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_layouts_and_axes(ops, shape, layout, axis):
    x = layouts.lay_out(torch.randn(shape), layout)
    r = Range(1 if axis == -1 else shape[axis])
    r.observe(ops, x, axis)
    flat = x.reshape(1, -1) if axis == -1 else x.movedim(axis, 0).reshape(shape[axis], -1)
    assert r.min.tolist() == flat.amin(1).tolist() and r.max.tolist() == flat.amax(1).tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(ops, dtype):
    x = torch.randn(100).to(dtype)
    low, high, _ = Range().observe(ops, x)
    assert low == [x.min().item()] and high == [x.max().item()]


def test_movement_is_float32(ops):
    r = Range()
    r.observe(ops, torch.tensor([0.1, 0.7]), momentum=0.01)
    r.observe(ops, torch.tensor([0.3, 0.9]), momentum=0.01)
    moved = F(0.7) + F(0.01) * (F(0.9) - F(0.7))
    assert r.max.numpy()[0] == np.float32(moved)


def test_state_is_marked_as_changed(ops):
    """Autograd must notice that a saved range was overwritten."""
    r = Range()
    before = r.min._version, r.max._version, r.count._version
    r.observe(ops, torch.ones(3, requires_grad=True))
    assert all(a > b for a, b in zip((r.min._version, r.max._version, r.count._version), before))


def test_errors(ops):
    x = torch.randn(2, 3)
    with pytest.raises(ValueError, match="observe_minmax_: min: expected 3 elements .*, got 1"):
        Range().observe(ops, x, axis=1)
    with pytest.raises(ValueError, match=r"momentum: expected a number in \(0, 1\], got 0"):
        Range().observe(ops, x, momentum=0.0)
    r = Range()
    r.count = torch.zeros(1)
    with pytest.raises(ValueError, match="count: expected Long, got Float"):
        r.observe(ops, x)
    r.count = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="count: expected 1 element, got 2"):
        r.observe(ops, x)
