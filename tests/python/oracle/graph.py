"""The graph of docs/format.md: values, nodes and the order between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .container import is_int, require, require_keys
from .rules import Format

TYPES = ("codes", "float32", "int64", "boolean")
NODE_KEYS = {"op", "name", "inputs", "outputs"}
_WEIGHTS = "weight weight_format weight_shape multiplier bias"
# op: (input types or None, output types or None, attributes). "T": one type for all of them.
OPERATORS: dict[str, tuple[str | None, str | None, str]] = {
    "quantize": ("float32", "codes", ""),
    "dequantize": ("codes", "float32", ""),
    "conv": (
        "codes",
        "float32",
        _WEIGHTS + " stride padding dilation output_padding groups transposed",
    ),
    "linear": ("codes", "float32", _WEIGHTS),
    "activation": ("float32", "float32", "kind p0 p1 slope"),
    "affine": ("float32", "float32", "multiplier bias"),
    "add": ("float32 float32", "float32", ""),
    "sub": ("float32 float32", "float32", ""),
    "mul": ("float32 float32", "float32", ""),
    "max_pool": ("codes", "codes", "kernel stride padding dilation ceil_mode"),
    "avg_pool": (
        "codes",
        "float32",
        "kernel stride padding ceil_mode count_include_pad divisor_override",
    ),
    "adaptive_avg_pool": ("codes", "float32", "output_size"),
    "mean": ("codes", "float32", "axes keepdim"),
    "lookup": ("codes", "codes|float32", "table"),
    "concat": (None, "T", "axis"),
    "pad": ("T", "T", "before after code"),
    "reshape": ("T", "T", "shape"),
    "permute": ("T", "T", "axes"),
    "slice": ("T", "T", "axis start stop step"),
    "upsample_nearest": ("T", "T", "factor"),
    "constant": ("", "float32|int64|boolean", "tensor"),
    "aten": (None, None, "schema arguments"),
}
ONE_GRID = {"max_pool", "concat", "pad", "reshape", "permute", "slice", "upsample_nearest"}
TENSOR_KEYS = ("weight", "multiplier", "bias", "slope", "table", "tensor")


@dataclass(frozen=True)
class Value:
    """One value; `scale` and the two after it are None for anything but codes."""

    name: str
    type: str
    shape: tuple[Any, ...]
    scale: np.float32 | None = None
    zero_point: int | None = None
    format: Format | None = None


@dataclass(frozen=True)
class Node:
    """One operator. `attributes` are the JSON ones, tensors still by name."""

    op: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: dict[str, Any]

    def tensors(self) -> list[str]:
        """The names of the tensors that this node uses."""
        named = (self.attributes.get(key) for key in TENSOR_KEYS)
        return [name for name in named if name is not None]


def number(item: Any, where: str) -> float:
    """A JSON number, or {"float": ...} for what JSON cannot write."""
    if isinstance(item, dict):
        require(list(item) == ["float"], f"{where}: a number is expected, got {item!r}")
        known = item["float"] in ("inf", "-inf", "nan")
        require(known, f"{where}: float: inf, -inf or nan is expected, got {item['float']!r}")
        return float(item["float"])
    require(is_int(item) or isinstance(item, float), f"{where}: a number is expected: {item!r}")
    return float(item)


def is_size(size: Any) -> bool:
    """`S`: an integer, or [a, c] with a != 0."""
    pair = isinstance(size, list) and len(size) == 2 and all(map(is_int, size))
    return is_int(size) or (pair and size[0] != 0)


def parse_value(item: Any, scales: np.ndarray, where: str) -> Value:
    """One entry of `values`."""
    require(isinstance(item, dict), f"{where}: an object is expected, got {item!r}")
    codes = item.get("type") == "codes"
    grid = {"scale", "zero_point", "format"} if codes else set()
    require_keys(item, {"name", "type", "shape"} | grid, where)
    name, kind, shape = item["name"], item["type"], item["shape"]
    require(isinstance(name, str), f"{where}: name: a string is expected, got {name!r}")
    require(kind in TYPES, f"{where}: type: one of {TYPES} is expected, got {kind!r}")
    require(
        isinstance(shape, list) and len(shape) <= 8 and all(map(is_size, shape)),
        f"{where}: shape: at most 8 sizes are expected, got {shape!r}",
    )
    if not codes:
        return Value(name, kind, tuple(shape))
    form, index, zp = Format.parse(item["format"]), item["scale"], item["zero_point"]
    require(
        is_int(index) and 0 <= index < len(scales),
        f"{where}: scale: {index!r} is not one of the {len(scales)} activation_scales",
    )
    require(
        is_int(zp) and form.qmin <= zp <= form.qmax,
        f"{where}: zero_point: {form.qmin} to {form.qmax} is expected, got {zp!r}",
    )
    return Value(name, kind, tuple(shape), scales[index], zp, form)


def indices(items: Any, count: int, where: str) -> tuple[int, ...]:
    """A list of indices into `values`."""
    require(
        isinstance(items, list) and all(is_int(i) and 0 <= i < count for i in items),
        f"{where}: indices below {count} are expected, got {items!r}",
    )
    return tuple(items)


def parse_node(item: Any, count: int, where: str) -> Node:
    """One entry of `nodes`."""
    require(isinstance(item, dict), f"{where}: an object is expected, got {item!r}")
    op = item.get("op")
    require(isinstance(op, str) and op in OPERATORS, f"{where}: unknown operator {op!r}")
    attributes = OPERATORS[op][2].split()
    require_keys(item, NODE_KEYS | set(attributes), f"{where} ({op})")
    require(isinstance(item["name"], str), f"{where}: name: a string is expected")
    inputs = indices(item["inputs"], count, f"{where}: inputs")
    outputs = indices(item["outputs"], count, f"{where}: outputs")
    return Node(op, item["name"], inputs, outputs, {key: item[key] for key in attributes})


def check_types(node: Node, values: Sequence[Value]) -> None:
    """Arity and types of one node, and the one grid of the operators that move codes."""
    wanted = OPERATORS[node.op][:2]
    for side, want, chosen in zip(("inputs", "outputs"), wanted, (node.inputs, node.outputs)):
        types = [values[i].type for i in chosen]
        if want is not None:
            need = want.split()
            fits = len(need) == len(types) and all(
                n == "T" or t in n.split("|") for n, t in zip(need, types)
            )
            require(fits, f"{node.name}: {node.op}: {side}: {want!r} is expected, got {types}")
    if node.op in ONE_GRID:
        require(len(node.inputs) > 0, f"{node.name}: {node.op}: an input is expected")
        used = [values[i] for i in node.inputs + node.outputs]
        grids = {(v.type, v.scale, v.zero_point, v.format) for v in used}
        require(len(grids) == 1, f"{node.name}: {node.op}: one type and grid, got {grids}")


def check_order(nodes: Sequence[Node], inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Each value is written once, before it is read."""
    require(len(set(inputs)) == len(inputs), f"inputs: a value twice in {list(inputs)}")
    written = set(inputs)
    for node in nodes:
        for i in node.inputs:
            require(i in written, f"{node.name}: value {i} is read before it is written")
        for i in node.outputs:
            require(i not in written, f"{node.name}: value {i} is written twice")
            written.add(i)
    for i in outputs:
        require(i in written, f"outputs: value {i} is never written")
