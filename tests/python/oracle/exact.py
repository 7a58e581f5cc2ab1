"""Rounding to binary32 in integers, for tests that work results out exactly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

F = np.float32


def nearest(x: Fraction) -> F:
    """The binary32 number nearest to a rational, ties to even, in integers; normal range only."""
    if x == 0:
        return F(0)
    exponent = 0
    while abs(x) / Fraction(2) ** exponent >= 2**24:
        exponent += 1
    while abs(x) / Fraction(2) ** exponent < 2**23:
        exponent -= 1
    # round() of a Fraction is ties-to-even.
    return F(float(round(x / Fraction(2) ** exponent) * Fraction(2) ** exponent))
