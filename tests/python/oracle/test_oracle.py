"""The arithmetic rules of docs/numerics.md with numbers worked out by hand."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from . import accumulate, rules
from .container import OracleError
from .exact import nearest
from .rules import Format

F = np.float32
U8, S8, N8 = Format("u", 8), Format("s", 8), Format("n", 8)


def f32(*items):
    return np.array(items, F)


@pytest.mark.parametrize(
    "text, ends",
    [("u8", (0, 255)), ("s8", (-128, 127)), ("n8", (-127, 127)), ("u2", (0, 3)),
     ("s2", (-2, 1)), ("n2", (-1, 1)), ("s4", (-8, 7)), ("n4", (-7, 7))],
)  # fmt: skip
def test_rule_1_ends(text, ends):
    form = Format.parse(text)
    assert (form.qmin, form.qmax) == ends


@pytest.mark.parametrize("text", ["u1", "s9", "i8", "u", "u8 ", 8, None])
def test_rule_1_rejects(text):
    with pytest.raises(OracleError, match="u, s or n and 2 to 8 bits"):
        Format.parse(text)


def test_rule_2_ties_are_taken_after_the_zero_point():
    x = f32(0.5, 1.5, 2.5, -0.5)
    assert rules.quantize(x, F(1), 0, S8).tolist() == [0, 2, 2, 0]
    # 1.5, 2.5, 3.5, 0.5 with the zero point in the sum.
    assert rules.quantize(x, F(1), 1, S8).tolist() == [2, 2, 4, 0]


def test_rule_2_sum_is_a_float():
    # 1.4999999 + 128 is 129.5 in float (spacing 2^-16), which rounds to even: 130.
    x = np.nextafter(F(1.5), F(0))
    assert rules.quantize(x, F(1), 128, U8) == 130
    assert rules.quantize(x, F(1), 0, U8) == 1


def test_rule_2_multiplies_by_the_reciprocal():
    # x = scale·k/2 with k odd is a tie for division; fl(1/scale) is off by up to 2^-25, so that the
    # product may miss the tie on either side.
    differ = 0
    for scale, k in itertools.product(range(3, 200, 2), range(1, 20, 2)):
        x = F(scale * k / 2)
        r = nearest(Fraction(float(x)) * Fraction(float(nearest(Fraction(1, scale)))))
        assert rules.quantize(x, F(scale), 0, S8) == round(Fraction(float(r)))
        differ += round(Fraction(float(r))) != round(Fraction(k, 2))
    # Division would give k/2 exactly: the reciprocal must be seen at least once.
    assert differ > 0


def test_rule_2_nan_and_infinity():
    x = f32(np.nan, np.inf, -np.inf, 1e38)
    assert rules.quantize(x, F(0.5), 7, U8).tolist() == [7, 255, 0, 255]
    assert rules.quantize(x, F(0.5), 0, N8).tolist() == [0, 127, -127, 127]


def test_rule_3():
    scale = F(0.1)
    q = np.arange(256)
    expected = [nearest((int(n) - 128) * Fraction(float(scale))) for n in q]
    result = rules.dequantize(q, scale, 128)
    assert result.dtype == F and result.tolist() == [float(e) for e in expected]


def test_rule_4_uses_the_rounded_value():
    # 255.5 rounds to 256, out; 255.4 to 255, in; -0.5 to -0, in; -0.6 to -1, out.
    x = f32(255.5, 255.4, -0.5, -0.6, np.nan, np.inf, -np.inf)
    expected = [False, True, True, False, False, False, False]
    assert rules.mask(x, F(1), 0, U8).tolist() == expected


def test_rule_5_affine():
    # scale = 4/255, zp = rne(0 + 255/4 = 63.75) = 64.
    scale, zp = rules.parameters(-1, 3, U8, symmetric=False)
    assert (scale, zp) == (nearest(Fraction(4, 255)), 64)
    # The range always holds zero.
    assert rules.parameters(2, 4, U8, symmetric=False) == (nearest(Fraction(4, 255)), 0)
    assert rules.parameters(-4, -2, U8, symmetric=False) == (nearest(Fraction(4, 255)), 255)
    # s8: -128 + 63.75 = -64.25.
    assert rules.parameters(-1, 3, S8, symmetric=False)[1] == -64


def test_rule_5_symmetric():
    assert rules.parameters(-2, 1, S8, symmetric=True) == (nearest(Fraction(2, 127)), 0)
    assert rules.parameters(0, 3, U8, symmetric=True) == (nearest(Fraction(3, 255)), 0)
    with pytest.raises(OracleError, match="symmetric unsigned: lo >= 0"):
        rules.parameters(-1, 3, U8, symmetric=True)


def test_rule_5_limits_and_powers_of_two():
    assert rules.parameters(0, 0, U8, symmetric=False) == (F(2.0**-40), 0)
    assert rules.parameters(0, 3e38, U8, symmetric=False) == (F(2.0**100), 0)
    # 4/255 = 2^-5.99 goes up to 2^-5, and zp is of that scale: 1/2^-5 = 32.
    two = dict(power_of_two=True)
    assert rules.parameters(-1, 3, U8, symmetric=False, **two) == (F(2.0**-5), 32)
    assert rules.parameters(-127, 0, S8, symmetric=True, **two) == (F(1), 0)
    above = np.nextafter(F(127), F(128))
    assert rules.parameters(0, above, S8, symmetric=True, **two) == (F(2), 0)


def test_int64_to_float32_rounds_once():
    # 2^60 + 2^36 + 1 is above the tie of binary32; through float64 the 1 is lost and it rounds
    # down to even. 40 copies and one alone: vector and scalar conversion.
    n = 2**60 + 2**36 + 1
    assert F(np.float64(n)) == F(2.0**60)
    for count in (1, 40):
        result = rules.to_float(np.full(count, n))
        assert result.dtype == F and (result == F(2.0**60 + 2.0**37)).all()
    # Ties to even at 2^24: 2^24 + 1 -> 2^24, 2^24 + 3 -> 2^24 + 4.
    assert rules.to_float(np.array([2**24 + 1, 2**24 + 3])).tolist() == [2**24, 2**24 + 4]


def test_rule_6_worst_case():
    weight = np.array([[1, -2], [3, 3]])
    assert accumulate.worst_case(weight, False, 1, 0, U8) == 6 * 255
    assert accumulate.worst_case(weight, False, 1, 128, U8) == 6 * 128
    # Transposed, [C=2, K=2, 1]: channel 0 has 1 + 3, channel 1 has 2 + 3.
    assert accumulate.worst_case(weight[..., None], True, 1, 0, U8) == 5 * 255
    assert accumulate.worst_case(weight[..., None], True, 2, 0, U8) == 3 * 255


def test_rule_6_sums_beyond_binary32_are_exact():
    x, w = np.full((1, 1000), 255), np.full((1, 1000), 127)
    w[0, 0] = 126
    assert accumulate.linear(x, w).tolist() == [[999 * 255 * 127 + 255 * 126]]


def test_rule_7_rounds_twice():
    # acc = 2^24 + 1 rounds to 2^24 first; 3·fl(0.1) rounds before the sum.
    acc = rules.to_float(np.array([[2**24 + 1, 3]]))
    m, bias = f32(1, 0.1), f32(1, -0.3)
    product = nearest(3 * Fraction(float(F(0.1))))
    expected = [2.0**24, float(nearest(Fraction(float(product)) - Fraction(float(F(0.3)))))]
    assert rules.rescale(acc, m, bias, 1).tolist() == [expected]
    fused = nearest(3 * Fraction(float(F(0.1))) - Fraction(float(F(0.3))))
    assert float(fused) != expected[1]
    # Without a bias the sign of zero stays: -0 + 0 would be +0.
    assert np.signbit(rules.rescale(f32(0)[None], f32(-1), None, 1)).all()
    assert not np.signbit(rules.rescale(f32(0)[None], f32(-1), f32(0), 1)).any()


def test_rule_8_each_kind():
    v = f32(-4, -3, -1, 0, 1, 3, 7, np.nan)
    finite = v[:-1]
    relu = rules.activation(v, "relu", 0, 0, None)
    assert relu[:-1].tolist() == [0, 0, 0, 0, 1, 3, 7] and np.isnan(relu[-1])
    relu6 = rules.activation(finite, "clamp", 0, 6, None)
    assert relu6.tolist() == [0, 0, 0, 0, 1, 3, 6]
    leaky = rules.activation(finite, "leaky_relu", 0.25, 0, None)
    assert leaky.tolist() == [-1, -0.75, -0.25, 0, 1, 3, 7]
    prelu = rules.activation(f32(-1, -1, 1)[None], "leaky_relu", 9, 0, f32(2, 0.5, 7))
    assert prelu.tolist() == [[-2, -0.5, 1]]
    s = nearest(Fraction(1, 6))
    assert s == rules.SIXTH
    # inner = 0 0 2 3 4 6 6
    sixth = Fraction(float(s))
    hard = rules.activation(finite, "hardsigmoid", 0, 0, None)
    assert hard.tolist() == [float(nearest(n * sixth)) for n in (0, 0, 2, 3, 4, 6, 6)]
    swish = rules.activation(finite, "hardswish", 0, 0, None)
    assert swish.tolist() == [float(nearest(n * sixth)) for n in (0, 0, -2, 0, 4, 18, 42)]
    # Left to right: fl(fl(v·fl(v + 3))·s) on numbers where the other grouping differs.
    v = np.linspace(-2.9, 2.9, 59, dtype=F)
    inner = [nearest(Fraction(float(x)) + 3) for x in v]
    product = [nearest(Fraction(float(x)) * Fraction(float(i))) for x, i in zip(v, inner)]
    expected = [float(nearest(Fraction(float(p)) * sixth)) for p in product]
    assert rules.activation(v, "hardswish", 0, 0, None).tolist() == expected
    # -0 is not below 0.
    assert np.signbit(rules.activation(f32(-0.0), "relu", 0, 0, None)).all()
    for kind in ("relu", "leaky_relu", "hardswish", "hardsigmoid"):
        assert rules.activation(finite, kind, 0.1, 6, None).dtype == F


def test_rule_9():
    # g = 3·(1/sqrt(3 + 1)) = 1.5; m = 0.5·1.5; bias = 7 + (2 − 4)·1.5 = 4.
    args = (f32(0.5), f32(2), f32(3), f32(7), f32(4), f32(3), 1.0)
    m, bias = rules.fold_batch_norm(*args)
    assert (m.dtype, bias.dtype) == (F, F) and (m[0], bias[0]) == (0.75, 4)
    # γ = 0 leaves β; -γ moves the sign into m.
    m, bias = rules.fold_batch_norm(*args[:2], f32(0), *args[3:])
    assert (m[0], bias[0]) == (0, 7)
    m, bias = rules.fold_batch_norm(*args[:2], f32(-3), *args[3:])
    assert (m[0], bias[0]) == (-0.75, 10)
    # The reciprocal of the root is rounded before γ: this differs from fl(3/fl(sqrt(3))).
    g = rules.fold_batch_norm(f32(1), f32(0), f32(3), f32(0), f32(0), f32(3), 0.0)[0]
    root = np.sqrt(F(3))
    reciprocal = nearest(1 / Fraction(float(root)))
    assert g[0] == nearest(3 * Fraction(float(reciprocal)))
