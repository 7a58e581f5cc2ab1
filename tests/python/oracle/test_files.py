"""Files written by hand: what loads, what it computes, and what is refused."""

import json

import numpy as np
import pytest

from . import handmade as h
from . import load, run, trace
from .container import OracleError
from .model import parse
from .rules import Format
from .weights import unpack

F = np.float32
B = [1, 0]


def small():
    """float32 [B,2] -> u8 -> linear 2 -> 3 with 4-bit weights."""
    values = [h.plain([B, 2]), h.codes([B, 2], 0, 10, "u8"), h.plain([B, 3])]
    nodes = [
        h.node("quantize", [0], [1]),
        h.node("linear", [1], [2], weight="w", weight_format="s4", weight_shape=[3, 2],
               multiplier="m", bias="b"),
    ]  # fmt: skip
    tensors = {
        "activation_scales": np.array([0.5], F),
        # Codes 1, -1 | -8, 7 | 0, 3, the first in the low bits.
        "w": np.array([0xF1, 0x78, 0x30], np.uint8),
        "m": np.array([1, 0.5, 2], F),
        "b": np.array([0, 0.25, -1], F),
    }
    return h.graph(values, nodes, [0], [2]), tensors


def test_a_file_by_hand_loads_and_runs(tmp_path):
    model = load(h.write(tmp_path / "a.safetensors", *small()))
    assert model.weights[1].tolist() == [[1, -1], [-8, 7], [0, 3]]
    x = np.array([[1.5, -1], [100, 0]], F)
    # Centred codes: [3, -2] and [clamp(210) - 10 = 200, 0].
    (result,) = run(model, [x])
    assert result.dtype == F
    assert result.tolist() == [[5, -38 * 0.5 + 0.25, -13], [200, -799.75, -1]]
    assert trace(model, [x])[1].tolist() == [[13, 8], [210, 10]]
    assert trace(model, [x])[1].dtype == np.uint8


def test_every_flipped_byte_raises():
    data = bytearray(h.file_bytes(*small()))
    parse(bytes(data))
    for position in range(len(data)):
        data[position] ^= 1
        with pytest.raises(OracleError):
            parse(bytes(data))
        data[position] ^= 1
    # A data byte leaves everything but the digest plausible.
    data[-1] ^= 1
    with pytest.raises(OracleError, match="sha256: the file says"):
        parse(bytes(data))
    with pytest.raises(OracleError):
        parse(bytes(data[:-1]))


@pytest.mark.parametrize("bits", range(2, 8))
def test_unpack_is_the_inverse_of_packing_by_hand(bits):
    form = Format("s", bits)
    codes = [form.qmin, form.qmax, 0, -1, 1, form.qmin, form.qmax]
    number = sum((c & (2**bits - 1)) << (bits * i) for i, c in enumerate(codes))
    size = -(-7 * bits // 8)
    packed = np.frombuffer(number.to_bytes(size, "little"), np.uint8)
    assert unpack(packed, form, [7, 1], "w")[:, 0].tolist() == codes
    with pytest.raises(OracleError, match="weight: a code outside"):
        unpack(packed, Format("n", bits), [7], "w")
    if 7 * bits % 8:
        spare = packed.copy()
        spare[-1] |= 0x80
        with pytest.raises(OracleError, match="spare bits"):
            unpack(spare, form, [7], "w")


def with_codebook(indices=(0b1000_0100, 0b0000_0001), book=(-7, 0, 5), bits=4):
    """`small`, its 6 weights as 2-bit indices 0 1 0 2 | 1 0."""
    the_graph, tensors = small()
    the_graph["nodes"][1]["weight_format"] = f"s{bits}"
    tensors["w"] = np.array(indices, np.uint8)
    tensors["w.codebook"] = np.array(book, np.int8)
    return h.file_bytes(the_graph, tensors)


def test_a_codebook_by_hand():
    assert parse(with_codebook()).weights[1].tolist() == [[-7, 0], [-7, 5], [0, -7]]
    # One bit each: 0 1 1 0 1 0.
    assert parse(with_codebook([0b10110], [-3, 2])).weights[1].tolist() == [
        [-3, 2],
        [2, -3],
        [2, -3],
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(book=(-7, 5, 0)), "the codes do not ascend"),
        (dict(book=(-7, 0, 0)), "the codes do not ascend"),
        (dict(book=(-9, 0, 5)), "a code outside -8 … 7"),
        (dict(book=(-7, 0)), r"U8\[1\] is expected"),
        (dict(book=range(-4, 5)), "1 to 8 codes, got 9"),
        (dict(book=()), "1 to 8 codes, got 0"),
        (dict(indices=(0b1100_0100, 1)), "an index over 2"),
        (dict(indices=(0b0100_0100, 1)), "a code without an index"),
        (dict(indices=(0b1000_0100, 0b11_0001)), "spare bits"),
    ],
)
def test_refused_codebooks(change, message):
    with pytest.raises(OracleError, match=message):
        parse(with_codebook(**change))


def test_wrong_calls():
    model = parse(h.file_bytes(*small()))
    with pytest.raises(OracleError, match="1 inputs are expected"):
        run(model, [])
    with pytest.raises(OracleError, match="float32 is expected, got float64"):
        run(model, [np.zeros((1, 2))])
    with pytest.raises(OracleError, match=r"shape \(1, 2\) is declared, got \(1, 3\)"):
        run(model, [np.zeros((1, 3), F)])


def change_value(key, new):
    return lambda g, t: g["values"][1].__setitem__(key, new)


def change_node(key, new):
    return lambda g, t: g["nodes"][1].__setitem__(key, new)


def change_tensor(key, new):
    return lambda g, t: t.__setitem__(key, new)


REFUSED = [
    (change_value("zero_point", 256), "zero_point: 0 to 255 is expected, got 256"),
    (change_value("scale", 1), "scale: 1 is not one of the 1"),
    (change_value("shape", [[0, 2], 2]), "shape: at most 8 sizes"),
    (change_value("extra", 0), "the keys are"),
    (change_node("op", "gelu"), "unknown operator 'gelu'"),
    (change_node("inputs", [3]), "indices below 3"),
    (change_node("inputs", [0]), "'codes' is expected, got"),
    (change_node("outputs", [1]), "written twice"),
    (lambda g, t: g["nodes"].reverse(), "read before it is written"),
    (change_node("weight", "v"), "there is no tensor 'v'"),
    (change_node("weight_format", "u4"), "signed is expected"),
    (change_node("weight_shape", [3, 3]), r"U8\[5\] is expected"),
    (change_tensor("other", np.zeros(1, F)), r"no node uses the tensors \['other'\]"),
    (change_tensor("activation_scales", np.array([2.0**-41], F)), "outside 2"),
    (change_tensor("m", np.array([1, np.inf, 1], F)), "multiplier: not finite"),
    (change_tensor("b", np.zeros(2, F)), r"bias: \[3\] is expected"),
    (change_tensor("bad name", np.zeros(1, F)), "bad name"),
]


@pytest.mark.parametrize("change, message", REFUSED)
def test_refused_graphs(change, message):
    the_graph, tensors = small()
    change(the_graph, tensors)
    with pytest.raises(OracleError, match=message):
        parse(h.file_bytes(the_graph, tensors))


def test_worst_case_accumulator():
    values = [h.codes([B, 66313], 0, 0, "u8"), h.plain([B, 1])]
    names = dict(weight="w", multiplier="m", bias=None)

    def model(size):
        values[0]["shape"][1] = size
        nodes = [h.node("linear", [0], [1], weight_format="n8", weight_shape=[1, size], **names)]
        tensors = {"w": np.full((1, size), 127, np.int8), "m": np.ones(1, F),
                   "activation_scales": np.ones(1, F)}  # fmt: skip
        return h.file_bytes(h.graph(values, nodes, [0], [1]), tensors)

    # 255·127·66311 = 2147481735 <= 2^31 - 1 = 2147483647 < 255·127·66312.
    parse(model(66311))
    with pytest.raises(OracleError, match="worst-case accumulator 2147514120"):
        parse(model(66312))


def test_refused_metadata_and_json():
    for key, new in (("format", "qat_ext/2"), ("numerics", "2"), ("provenance", '{"seed": 1}')):
        with pytest.raises(OracleError, match=key):
            parse(h.file_bytes(*small(), **{key: new}))
    text = json.dumps(small()[0])
    for broken, message in (
        (text.replace('"inputs": [0]', '"inputs": [0], "inputs": [0]', 1), "duplicate key"),
        (text.replace('"outputs": [2]', '"outputs": NaN', 1), "NaN is not JSON"),
        ("[" * 33 + "]" * 33, "deeper than 32"),
    ):
        with pytest.raises(OracleError, match=message):
            parse(h.file_bytes(*small(), graph=broken))


def test_refused_offsets():
    entry = '"x": {"dtype": "U8", "shape": [1], "data_offsets": [%d, %d]}'
    good = '{%s, "__metadata__": {"format": "qat_ext/1", "numerics": "1", "graph": "{}", '
    good += '"provenance": "{}", "sha256": "%s"}}'
    for begin, end, data, message in (
        (0, 2, bytes(2), "is not"),
        (0, 1, bytes(0), "is outside"),
        (1, 2, bytes(2), "x: starts at 1, the one before ends at 0"),
        (0, 1, bytes(2), "data ends at 1"),
    ):
        with pytest.raises(OracleError, match=message):
            parse(h.seal(good % (entry % (begin, end), "0" * 64), data))


def test_tensors_lie_by_dtype_and_then_by_name():
    entry = '"%s": {"dtype": "%s", "shape": [%d], "data_offsets": [%d, %d]}'
    tail = '"__metadata__": {"format": "qat_ext/1", "numerics": "1", "graph": "{}", '
    tail += '"provenance": "{}", "sha256": "' + "0" * 64 + '"}'

    def file(*entries):
        return h.seal("{" + ", ".join(entry % e for e in entries) + ", " + tail + "}", bytes(16))

    # Only the graph, {}, is wrong with the first one.
    with pytest.raises(OracleError, match="graph: the keys are"):
        parse(file(("z", "I64", 1, 0, 8), ("b", "F32", 1, 8, 12), ("a", "I8", 4, 12, 16)))
    with pytest.raises(OracleError, match="z: 4 is not a multiple of 8"):
        parse(file(("a", "I8", 4, 0, 4), ("z", "I64", 1, 4, 12), ("b", "F32", 1, 12, 16)))
    with pytest.raises(OracleError, match="a: starts at 4, the one before ends at 0"):
        parse(file(("b", "F32", 1, 0, 4), ("a", "F32", 3, 4, 16)))
