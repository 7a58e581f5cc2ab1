"""Small graphs of every operator, with results worked out by hand."""

import numpy as np
import pytest

from . import handmade as h
from . import run, trace
from .container import OracleError
from .model import parse

F = np.float32
B = [1, 0]


def test_conv_bn_activation_add_and_pools():
    values = [
        h.codes([B, 1, 2, 2], 0, 1, "u8"),
        h.plain([B, 1, 2, 2]),
        h.plain([B, 1, 2, 2]),
        h.plain([B, 1, 2, 2]),
        h.plain([B, 1, 2, 2]),
        h.codes([B, 1, 2, 2], 1, 0, "s8"),
        h.codes([B, 1, 1, 1], 1, 0, "s8"),
        h.plain([B, 1, 1, 1]),
        h.plain([B, 1]),
    ]
    window = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    nodes = [
        h.node("conv", [0], [1], weight="w", weight_format="n8", weight_shape=[1, 1, 3, 3],
               multiplier="m", bias=None, output_padding=[0, 0], groups=1, transposed=False,
               **window),
        h.node("affine", [1], [2], multiplier="m", bias="b"),
        h.node("activation", [2], [3], kind="relu", p0=0, p1=0, slope=None),
        h.node("sub", [3, 1], [4]),
        h.node("quantize", [4], [5]),
        h.node("max_pool", [5], [6], kernel=[2, 2], stride=[2, 2], padding=[0, 0],
               dilation=[1, 1], ceil_mode=False),
        h.node("adaptive_avg_pool", [5], [7], output_size=[1, 1]),
        h.node("mean", [5], [8], axes=[2, 3], keepdim=False),
    ]  # fmt: skip
    weight = np.zeros((1, 1, 3, 3), np.int8)
    weight[0, 0, 1] = [1, 2, -1]
    tensors = {
        "activation_scales": np.array([1, 0.5], F),
        "w": weight,
        "m": np.array([0.5], F),
        "b": np.array([-1], F),
    }
    model = parse(h.file_bytes(h.graph(values, nodes, [0], [6, 7, 8]), tensors))
    x = np.array([[[[1, 3], [11, 1]]]], np.uint8)
    # Centred 0 2 / 10 0; padding is centred 0: acc = -2 4 / 20 10, v = -1 2 / 10 5.
    # affine -1.5 0 / 4 1.5, relu 0 0 / 4 1.5, minus v: 1 -2 / -6 -3.5, codes 2 -4 / -12 -7.
    seen = trace(model, [x])
    assert seen[1].ravel().tolist() == [-1, 2, 10, 5]
    assert seen[4].ravel().tolist() == [1, -2, -6, -3.5]
    assert seen[5].ravel().tolist() == [2, -4, -12, -7] and seen[5].dtype == np.int8
    largest, adaptive, mean = run(model, [x])
    assert largest.tolist() == [[[[2]]]]
    # -21·(0.5/4).
    assert adaptive.tolist() == [[[[-2.625]]]] and mean.tolist() == [[-2.625]]


def single(op, sources, target, tensors=None, **attributes):
    """A model of one node, out of one or more inputs."""
    last = len(sources)
    nodes = [h.node(op, range(last), [last], **attributes)]
    scales = {"activation_scales": np.array([0.5, 2], F)}
    the_graph = h.graph([*sources, target], nodes, range(last), [last])
    return parse(h.file_bytes(the_graph, {**scales, **(tensors or {})}))


def u4(shape):
    return h.codes(shape, 0, 3, "u4")


X = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
LAYOUT = [
    ("pad", [B, 4, 3], dict(before=[0, 1, 0], after=[0, 1, 0], code=3),
     np.pad(X, ((0, 0), (1, 1), (0, 0)), constant_values=3)),
    ("reshape", [[2, 0], 3], dict(shape=[[2, 0], 3]), X.reshape(4, 3)),
    ("permute", [3, B, 2], dict(axes=[2, 0, 1]), X.transpose(2, 0, 1)),
    ("slice", [B, 2, 2], dict(axis=2, start=0, stop=3, step=2), X[:, :, ::2]),
    ("slice", [1, 2, 3], dict(axis=0, start=[1, -1], stop=B, step=1), X[1:]),
    ("upsample_nearest", [B, 4, 3], dict(factor=[2, 1]), X.repeat(2, axis=1)),
]  # fmt: skip


@pytest.mark.parametrize("op, shape, attributes, expected", LAYOUT)
def test_layout_moves_codes(op, shape, attributes, expected):
    (result,) = run(single(op, [u4([B, 2, 3])], u4(shape), **attributes), [X])
    assert result.dtype == np.uint8 and np.array_equal(result, expected)


def test_concat_dequantize_and_max_pool():
    (result,) = run(single("concat", [u4([B, 3])] * 2, u4([[2, 0], 3]), axis=0), [X[0], X[1]])
    assert np.array_equal(result, X.reshape(4, 3))
    (result,) = run(single("dequantize", [u4([B, 3])], h.plain([B, 3])), [X[0]])
    assert result.tolist() == [[-1.5, -1, -0.5], [0, 0.5, 1]]
    with pytest.raises(OracleError, match="one type and grid"):
        single("concat", [u4([B, 3]), h.codes([B, 3], 1, 3, "u4")], u4([B, 6]), axis=1)
    # With dilation 3 and padding 1 the taps are -1 and 2: none is in a row of two.
    window = dict(kernel=[2], stride=[1], padding=[1], dilation=[3], ceil_mode=False)
    model = single("max_pool", [u4([B, 1, 2])], u4([B, 1, 1]), **window)
    assert run(model, [X[:1, :1, :2]])[0].tolist() == [[[0]]]


def test_elementwise_broadcasts():
    floats = [h.plain([B, 3]), h.plain([3])]
    x, y = np.array([[1, 2, 3], [4, 5, 6]], F), np.array([10, 20, 30], F)
    for op, expected in (("add", x + y), ("sub", x - y), ("mul", x * y)):
        (result,) = run(single(op, floats, h.plain([B, 3])), [x, y])
        assert result.dtype == F and np.array_equal(result, expected)


def test_rule_11_tables():
    table = np.array([3, -1, 0, 1], np.int8)
    signed = h.codes([B], 0, 0, "s2")
    model = single("lookup", [signed], h.codes([B], 1, 0, "s3"), {"t": table}, table="t")
    (result,) = run(model, [np.array([-2, -1, 0, 1], np.int8)])
    assert result.tolist() == [3, -1, 0, 1]
    floats = {"t": np.array([0, 0.5, 2, 8], F)}
    model = single("lookup", [signed], h.plain([B]), floats, table="t")
    (result,) = run(model, [np.array([1, -2], np.int8)])
    assert result.tolist() == [8, 0] and result.dtype == F
    # A narrow input has 2^b - 1 codes: its lowest one is entry 0.
    model = single("lookup", [h.codes([B], 0, 0, "n2")], h.plain([B]), floats, table="t")
    assert run(model, [np.array([-1, 1], np.int8)])[0].tolist() == [0, 2]


def test_aten_needs_an_evaluator():
    arguments = [{"input": 0}, 2, 0.5, [{"batch": [2, 1]}, None], {"string": "none"}, True,
                 {"float": "-inf"}]  # fmt: skip
    attributes = dict(schema="aten::f", arguments=arguments)
    model = single("aten", [h.plain([B])], h.plain([B]), **attributes)
    x = np.array([1, 2], F)
    with pytest.raises(NotImplementedError, match="the_aten: aten aten::f"):
        run(model, [x])
    calls = []

    def double(node, inputs, values):
        calls.append(values)
        return [inputs[0] * F(2)]

    assert run(model, [x], double)[0].tolist() == [2, 4]
    assert calls[0][0] is not None
    assert calls[0][1:] == [2, 0.5, [5, None], "none", True, -np.inf]


def test_clamp_without_an_upper_end():
    ends = dict(kind="clamp", p0=-1, p1={"float": "inf"}, slope=None)
    model = single("activation", [h.plain([B])], h.plain([B]), **ends)
    assert run(model, [np.array([-3, 0.5, 1e30], F)])[0].tolist() == [-1, 0.5, float(F(1e30))]
    model = single("activation", [h.plain([B])], h.plain([B]), **{**ends, "p0": {"float": "huge"}})
    with pytest.raises(OracleError, match="float: inf, -inf or nan is expected, got 'huge'"):
        run(model, [np.zeros(1, F)])


def test_constants():
    nodes = [h.node("constant", [], [0], tensor="t")]
    the_graph = h.graph([h.plain([2], "int64")], nodes, [], [0])
    model = parse(h.file_bytes(the_graph, {"t": np.array([5, -6], np.int64)}))
    assert run(model, [])[0].tolist() == [5, -6]
