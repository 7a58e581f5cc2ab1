"""`load`: a checked model out of one file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .accumulate import worst_case
from .container import Container, is_int, parse_container, parse_json, require, require_keys
from .graph import Node, Value, check_order, check_types, indices, parse_node, parse_value
from .rules import SCALE_MAX, SCALE_MIN, Format
from .weights import SUFFIXES, read_weight

SCALES = "activation_scales"


@dataclass(frozen=True)
class Model:
    """A checkpoint. `weights[i]` are the unpacked int64 codes of node i, if it has some."""

    values: list[Value]
    nodes: list[Node]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_names: list[str]
    tensors: dict[str, np.ndarray]
    provenance: dict[str, str]
    weights: dict[int, np.ndarray] = field(default_factory=dict)


def load(path: str | os.PathLike[str]) -> Model:
    """Read and check the file at `path`; OracleError says what is wrong with it."""
    return parse(Path(path).read_bytes())


def parse(data: bytes) -> Model:
    """`load` on bytes."""
    box = parse_container(data)
    graph = parse_json(box.metadata["graph"], "graph")
    require_keys(graph, {"values", "nodes", "inputs", "outputs", "output_names"}, "graph")
    for key, item in graph.items():
        require(isinstance(item, list), f"graph: {key}: a list is expected, got {item!r}")
    scales = _scales(box)
    values = [parse_value(v, scales, f"values[{i}]") for i, v in enumerate(graph["values"])]
    count = len(values)
    nodes = [parse_node(n, count, f"nodes[{i}]") for i, n in enumerate(graph["nodes"])]
    inputs = indices(graph["inputs"], count, "inputs")
    outputs = indices(graph["outputs"], count, "outputs")
    names = graph["output_names"]
    require(all(isinstance(n, str) for n in names), "output_names: strings are expected")
    require(len(names) in (0, len(outputs)), f"output_names: {len(outputs)} or none, got {names}")
    check_order(nodes, inputs, outputs)
    _check_tensors(box, nodes)
    for node in nodes:
        check_types(node, values)
    provenance = parse_json(box.metadata["provenance"], "provenance")
    model = Model(values, nodes, inputs, outputs, names, box.tensors, provenance)
    _check_attributes(model)
    return model


def _scales(box: Container) -> np.ndarray:
    scales = box.tensors.get(SCALES, np.zeros(0, np.float32))
    require(scales.dtype == np.float32 and scales.ndim == 1, f"{SCALES}: F32[n] is expected")
    for scale in scales:
        require(bool(SCALE_MIN <= scale <= SCALE_MAX), f"{SCALES}: {scale} outside 2^-40 … 2^100")
    return scales


def _check_tensors(box: Container, nodes: list[Node]) -> None:
    used, reserved = {SCALES}, set()
    for node in nodes:
        for name in node.tensors():
            require(isinstance(name, str), f"{node.name}: a tensor name is expected: {name!r}")
            require(name in box.tensors, f"{node.name}: there is no tensor {name!r}")
            used.add(name)
        if "weight" in node.attributes:
            reserved.update(node.attributes["weight"] + suffix for suffix in SUFFIXES)
    taken = sorted(used & reserved)
    require(not taken, f"file: a node uses the tensors {taken}, whose names are reserved")
    used |= reserved
    unused = sorted(set(box.tensors) - used)
    require(not unused, f"file: no node uses the tensors {unused}")


def _check_attributes(model: Model) -> None:
    for index, node in enumerate(model.nodes):
        for key in ("multiplier", "bias", "slope"):
            if (name := node.attributes.get(key)) is not None:
                vector = model.tensors[name]
                fits = vector.dtype == np.float32 and vector.ndim == 1
                require(fits, f"{node.name}: {key}: F32[n] is expected")
                require(bool(np.isfinite(vector).all()), f"{node.name}: {key}: not finite")
        if "weight" in node.attributes:
            model.weights[index] = _weight(model, node)
        if node.op == "lookup":
            _check_table(model, node)


def _weight(model: Model, node: Node) -> np.ndarray:
    a = node.attributes
    form, shape = Format.parse(a["weight_format"]), a["weight_shape"]
    require(form.kind != "u", f"{node.name}: weight_format: signed is expected")
    require(
        isinstance(shape, list) and all(is_int(s) and s > 0 for s in shape),
        f"{node.name}: weight_shape: sizes are expected, got {shape!r}",
    )
    weight = read_weight(model.tensors, a["weight"], form, shape, node.name)
    source = model.values[node.inputs[0]]
    transposed = a.get("transposed", False)
    worst = worst_case(weight, transposed, a.get("groups", 1), source.zero_point, source.format)
    require(worst < 2**31, f"{node.name}: the worst-case accumulator {worst} is over 2^31 - 1")
    channels = shape[1] * a["groups"] if transposed else shape[0]
    for key in ("multiplier", "bias"):
        if a[key] is not None:
            size = model.tensors[a[key]].shape
            require(size == (channels,), f"{node.name}: {key}: [{channels}] is expected: {size}")
    return weight


def _check_table(model: Model, node: Node) -> None:
    table = model.tensors[node.attributes["table"]]
    source, target = model.values[node.inputs[0]], model.values[node.outputs[0]]
    dtype = np.dtype(np.float32 if target.format is None else target.format.dtype)
    fits = table.dtype == dtype and table.shape == (2**source.format.bits,)
    require(fits, f"{node.name}: table: {dtype}[2^{source.format.bits}], got {table.dtype}")
    if target.format is not None:
        inside = (target.format.qmin <= table) & (table <= target.format.qmax)
        require(bool(inside.all()), f"{node.name}: table: a code outside the output format")
