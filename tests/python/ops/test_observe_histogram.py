"""observe_histogram_: counts that depend on the values alone."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ops import layouts

INF, NAN = float("inf"), float("nan")
SIDE = 1024


class Histogram:
    def __init__(self):
        self.counts = torch.zeros(2 * SIDE, dtype=torch.int64)
        self.exponent = torch.tensor([-50])
        self.extremes = torch.tensor([INF, -INF])
        self.tally = torch.zeros(2, dtype=torch.int64)

    def state(self):
        return self.counts, self.exponent, self.extremes, self.tally

    def observe(self, ops, x):
        ops.observe_histogram_(torch.as_tensor(x, dtype=torch.float32), *self.state())
        return self

    def numbers(self):
        bins = {int(b): int(self.counts[b]) for b in self.counts.nonzero().flatten()}
        return bins, self.exponent.item(), self.extremes.tolist(), self.tally.tolist()


def expected(values):
    """The same from all values at once, in double precision and Python's integers."""
    finite = [float(v) for v in values if math.isfinite(v)]
    magnitude = max((abs(v) for v in finite), default=0.0)
    exponent = -50
    while magnitude >= SIDE * 2.0**exponent:
        exponent += 1
    bins = {}
    for v in finite:
        if v != 0:
            k = int(abs(v) / 2.0**exponent)  # a power of two: exact
            bin = SIDE + k if v > 0 else SIDE - 1 - k
            bins[bin] = bins.get(bin, 0) + 1
    extremes = [min(finite) + 0.0, max(finite) + 0.0] if finite else [INF, -INF]
    zeros = sum(v == 0 for v in finite)
    return dict(sorted(bins.items())), exponent, extremes, [zeros, len(values) - len(finite)]


def check(ops, *batches):
    histogram = Histogram()
    for batch in batches:
        histogram.observe(ops, batch)
    values = np.concatenate([np.asarray(batch, np.float32).reshape(-1) for batch in batches])
    assert histogram.numbers() == expected(values)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 3e4, 1e37])
def test_random_values(ops, scale):
    torch.manual_seed(0)
    check(ops, torch.randn(5000) * scale)


TINY = 2.0**-149  # the smallest denormal
HUGE = float(np.finfo(np.float32).max)
DEGENERATE = [
    [],
    [0.0],
    [0.0, -0.0, 0.0],
    [5.0],
    [-5.0] * 7,
    [NAN],
    [NAN, INF, -INF],
    [NAN, 1.0, INF, -2.0, -INF, 0.0],
    [TINY],
    [-TINY, TINY, 0.0],
    [TINY, -TINY, 1.0, HUGE],
    [HUGE],
    [-HUGE, HUGE],
    [1e38, 1e-38],
    [2.0**-40, 2.0**-50, -(2.0**-50), 2.0**-51],
]


@pytest.mark.parametrize("values", DEGENERATE)
def test_degenerate_values(ops, values):
    check(ops, values)


def test_edges_of_bins(ops):
    """A bin holds its inner edge and not its outer one, on either side."""
    edges = np.arange(1, SIDE, dtype=np.float32)
    inside = np.nextafter(edges, np.float32(0))
    outside = np.nextafter(edges, np.float32(2 * SIDE))
    check(ops, np.concatenate([edges, inside, outside, -edges, -inside, -outside]))


def test_a_power_of_two_needs_the_next_exponent(ops):
    for exponent in (-41, -40, -39, 0, 1, 127):
        check(ops, [2.0**exponent])
        check(ops, [-(2.0**exponent)])
        check(ops, [np.nextafter(np.float32(2.0**exponent), np.float32(0))])


def test_growing_equals_all_at_once(ops):
    torch.manual_seed(1)
    parts = [torch.randn(500) * 10.0**power for power in (-14, -3, 0, -2, 9, 37, 1)]
    check(ops, *parts)
    check(ops, *reversed(parts))
    check(ops, *parts, *DEGENERATE, [1.0])


def test_order_leaves_no_trace(ops):
    torch.manual_seed(2)
    x = torch.randn(3000) * torch.logspace(-8, 8, 3000)
    whole = Histogram().observe(ops, x).numbers()
    for chunk in (1, 7, 1000):
        parts = Histogram()
        for part in x[torch.randperm(3000)].split(chunk):
            parts.observe(ops, part)
        assert parts.numbers() == whole


def test_an_extreme_of_zero_has_no_sign(ops):
    """Else the order of 0 and -0 would show in the bits."""
    for batches in ([[-0.0]], [[0.0], [-0.0]], [[-0.0], [0.0]], [[-0.0, 0.0]]):
        histogram = Histogram()
        for batch in batches:
            histogram.observe(ops, batch)
        assert not histogram.extremes.signbit().any()


def test_more_elements_than_one_thread_takes(ops):
    torch.manual_seed(3)
    x = torch.randn(700_001).relu_()
    x[::1000] = NAN
    check(ops, x)


def test_threads_leave_no_trace(ops):
    program = (
        "import torch; from ops.test_observe_histogram import *; from ops.library import load;"
        "torch.manual_seed(4); h = Histogram().observe(load(), torch.randn(999_999).exp());"
        "print(h.numbers())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    ]
    assert len(found[0]) > 1000 and found[0] == found[1] == found[2]


@pytest.mark.parametrize("layout", layouts.NAMES)
def test_layouts(ops, layout):
    x = layouts.lay_out(torch.randn(3, 4, 5, 6), layout)
    histogram = Histogram().observe(ops, x)
    assert histogram.numbers() == expected(x.reshape(-1).numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(ops, dtype):
    x = torch.randn(100).to(dtype)
    histogram = Histogram()
    ops.observe_histogram_(x, *histogram.state())
    assert histogram.numbers() == expected(x.float().numpy())


def test_a_scalar(ops):
    check(ops, torch.tensor(1.5))


def test_state_that_is_not_contiguous(ops):
    histogram = Histogram()
    histogram.counts = torch.zeros(2 * SIDE, 2, dtype=torch.int64)[:, 0]
    histogram.observe(ops, [1.0, 2.0])
    assert histogram.numbers() == expected([1.0, 2.0])


def test_flushing_denormals_moves_no_value(ops):
    x, histogram = torch.tensor([TINY, -TINY, 0.0]), Histogram()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        histogram.observe(ops, x)
    finally:
        torch.set_flush_denormal(False)
    bins, _, _, tally = histogram.numbers()
    assert (bins, tally) == ({SIDE - 1: 1, SIDE: 1}, [1, 0])


def test_state_is_marked_as_changed(ops):
    histogram = Histogram()
    before = [tensor._version for tensor in histogram.state()]
    ops.observe_histogram_(torch.ones(3, requires_grad=True), *histogram.state())
    assert all(t._version > b for t, b in zip(histogram.state(), before, strict=True))


ERRORS = {
    "counts: expected Long, got Float": {"counts": torch.zeros(2048)},
    r"counts: expected the shape \[2048\], got \[2049\]": {
        "counts": torch.zeros(2049, dtype=torch.int64)
    },
    "exponent: expected Long, got Int": {"exponent": torch.zeros(1, dtype=torch.int32)},
    r"exponent: expected the shape \[1\], got \[2\]": {"exponent": torch.zeros(2).long()},
    "exponent: expected an integer from -50 to 118, got -51": {"exponent": torch.tensor([-51])},
    "exponent: expected an integer from -50 to 118, got 119": {"exponent": torch.tensor([119])},
    "extremes: expected Float, got Double": {"extremes": torch.zeros(2).double()},
    r"extremes: expected the shape \[2\], got \[1\]": {"extremes": torch.zeros(1)},
    r"tally: expected the shape \[2\], got \[3\]": {"tally": torch.zeros(3).long()},
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors(ops, message):
    histogram = Histogram()
    for name, value in ERRORS[message].items():
        setattr(histogram, name, value)
    with pytest.raises(ValueError, match=f"^observe_histogram_: {message}"):
        histogram.observe(ops, [1.0])


def test_integers_are_refused(ops):
    message = "observe_histogram_: x: expected float32, bfloat16 or float16, got Long"
    with pytest.raises(ValueError, match=message):
        ops.observe_histogram_(torch.ones(3).long(), *Histogram().state())
