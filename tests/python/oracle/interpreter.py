"""`run`: every node of a model, in order, by docs/numerics.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import accumulate, layout, pool, rules
from .container import require
from .graph import Node, Value, number
from .model import Model

# Called for an `aten` node with (node, its inputs, its arguments with every {"input": i} and
# {"batch": [a, c]} replaced); gives the outputs. Codes reach it as int64.
Evaluator = Callable[[Node, list[np.ndarray], list[Any]], Sequence[np.ndarray]]
DTYPES = {"codes": np.int64, "float32": np.float32, "int64": np.int64, "boolean": np.bool_}


def run(
    model: Model, inputs: Sequence[np.ndarray], evaluator: Evaluator | None = None
) -> list[np.ndarray]:
    """The outputs of `model`; codes come as uint8 or int8."""
    values = trace(model, inputs, evaluator)
    return [values[i] for i in model.outputs]


def trace(
    model: Model, inputs: Sequence[np.ndarray], evaluator: Evaluator | None = None
) -> dict[int, np.ndarray]:
    """All values by index: the first one that differs names the node to look at."""
    require(len(inputs) == len(model.inputs), f"run: {len(model.inputs)} inputs are expected")
    batch = layout.batch_size([model.values[i].shape for i in model.inputs], inputs)
    values = {i: _graph_input(model.values[i], x, batch) for i, x in zip(model.inputs, inputs)}
    # Infinities and NaN are ordinary results here, not warnings.
    with np.errstate(all="ignore"):
        for index in range(len(model.nodes)):
            _step(model, index, values, batch, evaluator)
    return {i: _external(model.values[i], x) for i, x in values.items()}


def _graph_input(value: Value, array: np.ndarray, batch: int | None) -> np.ndarray:
    x = np.asarray(array)
    dtype = np.dtype(value.format.dtype if value.format else DTYPES[value.type])
    require(x.dtype == dtype, f"run: {value.name}: {dtype} is expected, got {x.dtype}")
    x = x.astype(DTYPES[value.type])
    _check_result(value, x, batch, "run")
    return x


def _external(value: Value, x: np.ndarray) -> np.ndarray:
    return x.astype(value.format.dtype) if value.format else x


def _check_result(value: Value, x: np.ndarray, batch: int | None, where: str) -> None:
    shape = layout.resolve(value.shape, batch)
    require(x.shape == shape, f"{where}: {value.name}: shape {shape} is declared, got {x.shape}")
    assert x.dtype == DTYPES[value.type], f"{where}: {value.name}: computed as {x.dtype}"
    if value.format is not None:
        inside = (value.format.qmin <= x) & (x <= value.format.qmax)
        require(bool(inside.all()), f"{where}: {value.name}: a code outside its format")


def _step(
    model: Model,
    index: int,
    values: dict[int, np.ndarray],
    batch: int | None,
    evaluator: Evaluator | None,
) -> None:
    node = model.nodes[index]
    inputs = [values[i] for i in node.inputs]
    if node.op == "aten":
        if evaluator is None:
            raise NotImplementedError(
                f"{node.name}: aten {node.attributes['schema']}: an evaluator is needed"
            )
        arguments = [_argument(a, inputs, batch) for a in node.attributes["arguments"]]
        results = [np.asarray(r) for r in evaluator(node, inputs, arguments)]
    else:
        results = [_evaluate(model, index, inputs, batch)]
    require(len(results) == len(node.outputs), f"{node.name}: {len(node.outputs)} outputs")
    for i, result in zip(node.outputs, results):
        _check_result(model.values[i], result, batch, node.name)
        values[i] = result


def _argument(item: Any, inputs: list[np.ndarray], batch: int | None) -> Any:
    if isinstance(item, list):
        return [_argument(x, inputs, batch) for x in item]
    if not isinstance(item, dict):
        return item
    ((kind, payload),) = item.items()
    if kind == "input":
        return inputs[payload]
    if kind == "batch":
        return layout.resolve([payload], batch)[0]
    if kind == "float":
        return number(item, "aten")
    require(kind == "string", f"aten: unknown argument {item!r}")
    return payload


def _evaluate(model: Model, index: int, inputs: list[np.ndarray], batch: int | None) -> np.ndarray:
    node, tensors = model.nodes[index], model.tensors
    source = model.values[node.inputs[0]] if node.inputs else None
    target = model.values[node.outputs[0]]
    a = dict(node.attributes)
    for key in ("multiplier", "bias", "slope", "table", "tensor"):
        if a.get(key) is not None:
            a[key] = tensors[a[key]]
    if node.op == "constant":
        return a["tensor"].astype(DTYPES[target.type], casting="no")
    x = inputs[0]
    if node.op == "quantize":
        return rules.quantize(x, target.scale, target.zero_point, target.format)
    if node.op in ("add", "sub", "mul"):
        function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[node.op]
        return function(x, inputs[1], dtype=np.float32)
    if node.op == "activation":
        ends = [number(a[key], f"{node.name}: {key}") for key in ("p0", "p1")]
        return rules.activation(x, a["kind"], *ends, a["slope"])
    if node.op == "affine":
        return rules.rescale(x, a["multiplier"], a["bias"], 1)
    if node.op in layout.OPERATORS:
        return layout.evaluate(node, inputs, batch)
    return _on_codes(node, source, x, a, model.weights.get(index), target)


def _on_codes(
    node: Node,
    source: Value,
    q: np.ndarray,
    a: dict[str, Any],
    weight: np.ndarray | None,
    target: Value,
) -> np.ndarray:
    centred, scale = q - source.zero_point, source.scale
    if node.op == "dequantize":
        return rules.dequantize(q, scale, source.zero_point)
    if node.op == "linear":
        acc = accumulate.linear(centred, weight)
        return rules.rescale(rules.to_float(acc), a["multiplier"], a["bias"], -1)
    if node.op == "conv":
        window = (a["stride"], a["padding"], a["dilation"])
        if a["transposed"]:
            more = (a["output_padding"], a["groups"])
            acc = accumulate.conv_transposed(centred, weight, *window, *more)
        else:
            acc = accumulate.conv(centred, weight, *window, a["groups"])
        return rules.rescale(rules.to_float(acc), a["multiplier"], a["bias"], 1)
    if node.op == "max_pool":
        return pool.max_pool(q, source.format.qmin, **node.attributes)
    if node.op == "avg_pool":
        return pool.avg_pool(centred, scale, **node.attributes)
    if node.op == "adaptive_avg_pool":
        return pool.adaptive_avg_pool(centred, scale, a["output_size"])
    if node.op == "mean":
        return pool.mean(centred, scale, a["axes"], a["keepdim"])
    require(node.op == "lookup", f"{node.name}: unknown operator {node.op}")
    return a["table"][q - source.format.qmin].astype(DTYPES[target.type])
