"""Weights that are stored in groups: what loads, what it means, and what is refused."""

import numpy as np
import pytest

from . import grouped_files, run, weight_groups
from . import handmade as h
from .container import OracleError
from .grouped_files import FAULTS, GOOD, affine, grouped, pack
from .model import parse

F = np.float32


def weight(data):
    return parse(data).weights[1].tolist()


def test_groups_by_hand():
    assert weight(grouped()) == [[7, -8, 6, 0, -3], [105, -105, -8, 1, -56]]


def test_groups_with_zero_points_by_hand():
    # 0-3 15-3 | 2·(0-15) 0 | 3·15, and 15·(-8) 15·7 | 0 1 | 7·8.
    assert weight(affine()) == [[-3, 12, -30, 0, 45], [-120, 105, 0, 1, 56]]


def test_a_layer_multiplies_the_codes():
    model = parse(grouped())
    # Centred codes: 1, 0, 2, 0, -10.
    (result,) = run(model, [np.array([[0.5, 0, 1, 0, -5]], F)])
    assert result.tolist() == [[7 + 12 + 30, 105 - 16 + 560]]


@pytest.mark.parametrize("bits", range(2, 8))
def test_every_number_of_bits(bits):
    half, top = 2 ** (bits - 1), 2**bits - 1
    signed = [-half, half - 1, 0, -1, 1, -half, half - 1, 0, 1]
    step = 127 // half
    assert weight(grouped([signed], [[step]], bits=bits)) == [[step * q for q in signed]]
    plain = [0, top, 1, top - 1, 0, top, 1, 2, 3]
    step = 127 // top
    for zero_point in (0, 1, top):
        expected = [[step * (q - zero_point) for q in plain]]
        assert weight(affine(q=[plain], step=[[step]], zero_point=[[zero_point]], bits=bits)) == (
            expected
        )


@pytest.mark.parametrize("groups, sizes", [(1, [5]), (2, [3, 2]), (3, [2, 2, 1]), (5, [1] * 5)])
def test_only_the_last_group_is_shorter(groups, sizes):
    step = [list(range(1, groups + 1)), list(range(21, 21 + groups))]
    expected = [np.repeat(row, sizes).tolist() for row in step]
    assert weight(grouped([[1] * 5] * 2, step)) == expected


@pytest.mark.parametrize("name", GOOD)
def test_good_files_load(name):
    assert np.abs(parse(GOOD[name]).weights[1]).max() <= 127


def test_groups_run_through_the_axes_of_a_kernel():
    values = [h.codes([[1, 0], 3, 4, 4], 0, 10, "u8"), h.plain([[1, 0], 2, 3, 3])]
    attributes = dict(
        weight="w", weight_format="n8", weight_shape=[2, 3, 2, 2], multiplier="m", bias=None,
        stride=[1, 1], padding=[0, 0], dilation=[1, 1], output_padding=[0, 0], groups=1,
        transposed=False,
    )  # fmt: skip
    tensors = {
        "activation_scales": np.array([0.5], F),
        "w": pack([1] * 24, 2),
        "m": np.ones(2, F),
        "w.step": np.array([[1, 2, 3], [4, 5, 6]], np.uint8),
    }
    the_graph = h.graph(values, [h.node("conv", [0], [1], **attributes)], [0], [1])
    (codes,) = parse(h.file_bytes(the_graph, tensors)).weights.values()
    expected = np.repeat([1, 2, 3, 4, 5, 6], 4).reshape(2, 3, 2, 2)
    assert codes.tolist() == expected.tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_refused_groups(fault):
    data, message = FAULTS[fault]
    with pytest.raises(OracleError, match=message):
        parse(data)


@pytest.mark.parametrize("suffix", [".codebook", ".step", ".zero_point"])
def test_the_names_beside_a_weight_are_reserved(suffix):
    the_graph = h.graph(
        [h.codes([[1, 0], 2], 0, 10, "u8"), h.plain([[1, 0], 1])],
        [h.node("linear", [0], [1], weight="w", weight_format="n8", weight_shape=[1, 2],
                multiplier="w" + suffix, bias=None)],
        [0], [1],
    )  # fmt: skip
    tensors = {
        "activation_scales": np.array([0.5], F),
        "w": np.ones((1, 2), np.int8),
        "w" + suffix: np.ones(1, F),
    }
    with pytest.raises(OracleError, match="whose names are reserved"):
        parse(h.file_bytes(the_graph, tensors))


def test_the_files_by_hand_have_the_codes_that_they_say():
    assert pack([1, -1, -8, 7, 0, 3], 4).tolist() == [0xF1, 0x78, 0x30]
    assert np.shape(grouped_files.STEP) == np.shape(grouped_files.ZERO_POINT) == (2, 3)


def rule_15(row, **keys):
    recipe = weight_groups.Recipe(**keys)
    codes, scale = weight_groups.quantize(np.array([row], F), recipe)
    return codes[0].tolist(), scale[0]


def test_rule_15_by_hand():
    # t = 2 and 1/7, F = 15: factors 15 and ceil(15/14), steps 2 and 4/15.
    row = [6, -14, 1, 0.5]
    assert rule_15(row, group=2) == ([45, -105, 8, 4], F(2) / F(15))
    # 2/15 goes up to 1/4: factors 8 and 1.
    assert rule_15(row, group=2, power_of_two=True) == ([24, -56, 4, 2], F(0.25))
    # One group: no factor, and no room for one.
    assert rule_15(row, group=4) == ([3, -7, 0, 0], F(2))
    assert rule_15(row, group=2, bits=7) == ([27, -63, 4, 2], F(14) / F(63))
    assert rule_15(row, group=2, bits=8) == ([54, -127, 9, 5], F(14) / F(127))


def test_rule_15_with_zero_points_by_hand():
    # t = 4/15 and 1/30, F = 8: factors 8 and 1, zero points rne(3.75) and 0.
    row = [3, -1, 0.5, 0.2]
    expected = [8 * (15 - 4), 8 * (0 - 4), 15, 6], F(4) / F(15) / F(8)
    assert rule_15(row, group=2, symmetric=False) == expected
    # One group: 0.5 and 0.2 are 1.875 and 0.75 of its steps of 4/15.
    expected = [15 - 4, 0 - 4, 2, 1], F(4) / F(15)
    assert rule_15(row, granularity="channel", symmetric=False) == expected


def test_rule_15_counts_only_finite_weights():
    # The step is 1/7 · 15/15; NaN has the code 0, an infinity the end.
    codes, scale = rule_15([np.nan, np.inf, -np.inf, 1], group=4)
    assert (codes, scale) == ([0, 7, -8, 7], F(1) / F(7))
    assert rule_15([np.nan, np.inf], group=2) == ([0, 7], F(2.0**-40))
    assert rule_15([0, 0, 0], group=2, symmetric=False) == ([0, 0, 0], F(2.0**-40))


@pytest.mark.parametrize(
    "length, group, sizes",
    [(10, 4, [4, 4, 2]), (147, 32, [30] * 4 + [27]), (9, 2, [2] * 4 + [1]), (5, 8, [5])],
)
def test_rule_15_cuts_even_groups(length, group, sizes):
    assert weight_groups.Recipe(group=group).group_sizes(length) == sizes


def test_rows_are_output_channels():
    # [C = 4, K/groups = 3, 1]: channel 4 of 6 is the second of the second group of inputs 2 and 3.
    weight = np.arange(12).reshape(4, 3, 1)
    assert weight_groups.rows(weight, True, 2)[4].tolist() == [7, 10]
    assert weight_groups.rows(weight)[1].tolist() == [3, 4, 5]
