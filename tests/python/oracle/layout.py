"""Rule 10: the operators that move elements and change none, and sizes that depend on B."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .container import require
from .graph import Node

OPERATORS = {"concat", "pad", "reshape", "permute", "slice", "upsample_nearest"}


def batch_size(shapes: Sequence[Sequence[Any]], inputs: Sequence[np.ndarray]) -> int | None:
    """B, from the graph inputs with a size [a, c]; None where there is none."""
    batch: int | None = None
    for shape, array in zip(shapes, inputs):
        require(len(shape) == np.ndim(array), f"run: rank {len(shape)} is expected: {array.shape}")
        for size, actual in zip(shape, array.shape):
            if isinstance(size, list):
                found, rest = divmod(actual - size[1], size[0])
                require(rest == 0, f"run: {actual} is not {size[0]}·B + {size[1]}")
                require(batch in (None, found), f"run: two batch sizes, {batch} and {found}")
                batch = found
    return batch


def resolve(shape: Sequence[Any], batch: int | None) -> tuple[int, ...]:
    """Sizes `S` with B put in."""

    def size(item: Any) -> int:
        if not isinstance(item, list):
            return item
        require(batch is not None, f"run: {item} needs a batch size and no input has one")
        return item[0] * batch + item[1]

    return tuple(size(item) for item in shape)


def evaluate(node: Node, inputs: Sequence[np.ndarray], batch: int | None) -> np.ndarray:
    """One layout node."""
    a, x = node.attributes, inputs[0]
    if node.op == "concat":
        return np.concatenate(inputs, axis=a["axis"])
    if node.op == "pad":
        pairs = list(zip(a["before"], a["after"], strict=True))
        require(min(min(p) for p in pairs) >= 0, f"{node.name}: pad: sizes below 0: {pairs}")
        return np.pad(x, pairs, constant_values=a["code"])
    if node.op == "reshape":
        return x.reshape(resolve(a["shape"], batch))
    if node.op == "permute":
        return x.transpose(a["axes"])
    if node.op == "slice":
        # Negative and too large bounds are those of Python, which torch shares.
        start, stop = resolve([a["start"], a["stop"]], batch)
        where = [slice(None)] * x.ndim
        where[a["axis"]] = slice(start, stop, a["step"])
        return x[tuple(where)]
    require(node.op == "upsample_nearest", f"{node.name}: {node.op} moves no elements")
    for axis, factor in enumerate(a["factor"], start=x.ndim - len(a["factor"])):
        x = np.repeat(x, factor, axis=axis)
    return x
