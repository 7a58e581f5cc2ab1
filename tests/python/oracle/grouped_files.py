"""Checkpoints whose weight is stored in groups, by hand: good ones, and one for each fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import handmade as h

F = np.float32
# Rows of 5 codes in 3 groups of 2, 2 and 1. The largest codes are 15·7 and 7·(-8).
STEP = [[1, 2, 3], [15, 1, 7]]
SIGNED = [[7, -8, 3, 0, -1], [7, -7, -8, 1, -8]]
ZERO_POINT = [[3, 15, 0], [8, 0, 7]]
UNSIGNED = [[0, 15, 0, 15, 15], [0, 15, 0, 1, 15]]


def pack(numbers: Sequence[int], bits: int) -> np.ndarray:
    """`bits` bits of each number, the first in the lowest bits of the first byte."""
    whole = sum((n & (2**bits - 1)) << (bits * i) for i, n in enumerate(numbers))
    return np.frombuffer(whole.to_bytes(-(-len(numbers) * bits // 8), "little"), np.uint8)


def grouped(
    q: Any = SIGNED,
    step: Any = STEP,
    zero_point: Any = None,
    bits: int = 4,
    form: str = "n8",
    shape: Sequence[int] | None = None,
    **tensors: Any,
) -> bytes:
    """Inputs of scale 0.5 into a linear layer whose weight is `step·(q - zero_point)`.

    `tensors` replaces single ones, None leaves one out; `w_step` stands for the name `w.step`.
    """
    shape = list(np.shape(q)) if shape is None else list(shape)
    inputs, outputs = shape[1], shape[0]
    values = [
        h.plain([[1, 0], inputs]),
        h.codes([[1, 0], inputs], 0, 10, "u8"),
        h.plain([[1, 0], outputs]),
    ]
    attributes = dict(weight="w", weight_format=form, weight_shape=shape, multiplier="m", bias=None)
    every = {
        "activation_scales": np.array([0.5], F),
        "w": pack(np.ravel(q).tolist(), bits),
        "m": np.ones(outputs, F),
        "w.step": np.array(step, np.uint8),
    }
    if zero_point is not None:
        every["w.zero_point"] = np.array(zero_point, np.uint8)
    every |= {name.replace("_", ".", 1): tensor for name, tensor in tensors.items()}
    every = {name: tensor for name, tensor in every.items() if tensor is not None}
    nodes = [h.node("quantize", [0], [1]), h.node("linear", [1], [2], **attributes)]
    return h.file_bytes(h.graph(values, nodes, [0], [2]), every)


def affine(**changes: Any) -> bytes:
    """:func:`grouped` with zero points."""
    return grouped(**(dict(q=UNSIGNED, zero_point=ZERO_POINT) | changes))


GOOD = {
    "signed": grouped(),
    "affine": affine(),
    "whole rows": grouped(step=[[1], [2]]),
    "two groups": grouped([[1] * 5] * 2, [[1, 2], [3, 4]]),
    "one code in a group": affine(step=[[8] * 5] * 2, zero_point=[[0, 1, 2, 14, 15]] * 2),
    "seven bits": affine(q=[[0, 127, 5, 6], [1, 2, 3, 4]], step=[[1], [1]], zero_point=[[0], [127]],
                         bits=7),
}  # fmt: skip
# What is wrong with the file, and how the oracle says so.
FAULTS: dict[str, tuple[bytes, str]] = {
    "s8": (grouped(form="s8"), "groups have the format n8"),
    "n4": (grouped(form="n4"), "groups have the format n8"),
    "seven codes": (
        grouped([[1] * 7], [[1]], bits=4),
        "groups have 8 codes or more, got 7",
    ),
    "one bit": (grouped(w=np.zeros(2, np.uint8)), "2 to 7 bits, got 1"),
    "eight bits": (grouped(w=np.zeros(10, np.uint8)), "2 to 7 bits, got 8"),
    "a byte too many": (grouped(w=np.zeros(6, np.uint8)), r"U8\[5\] is expected"),
    "no bytes": (grouped(w=np.zeros(0, np.uint8)), "2 to 7 bits, got 0"),
    "weight as I8": (grouped(w=np.zeros(5, np.int8)), r"U8\[bytes\] is expected"),
    "weight as a matrix": (grouped(w=np.zeros((5, 1), np.uint8)), r"U8\[bytes\] is expected"),
    "spare bits": (
        grouped([[1] * 9], [[1]], bits=3, w=np.full(4, 0xFF, np.uint8)),
        "spare bits are not zero",
    ),
    "step of 0": (grouped(step=[[1, 0, 3], [15, 1, 7]]), "step: a number outside 1 … 127"),
    "step of 128": (
        grouped([[0] * 5] * 2, [[1, 128, 3], [15, 1, 7]]),
        "step: a number outside 1 … 127",
    ),
    "steps as I8": (grouped(w_step=np.ones((2, 3), np.int8)), r"step: U8\[2, n\] is expected"),
    "steps as a vector": (grouped(w_step=np.ones(2, np.uint8)), r"step: U8\[2, n\] is expected"),
    "steps of one row": (grouped(step=[[1, 2, 3]]), r"step: U8\[2, n\] is expected"),
    "no groups": (grouped(w_step=np.ones((2, 0), np.uint8)), "1 to 5 groups, got 0"),
    "more groups than codes": (grouped(step=np.ones((2, 6))), "1 to 5 groups, got 6"),
    "a group without codes": (
        grouped(step=np.ones((2, 4))),
        "5 codes make 3 groups of 2, got 4",
    ),
    "code of 128": (grouped([[1] * 5, [-8] + [1] * 4], [[16] * 3] * 2), "outside -127 … 127"),
    "code of 135": (affine(zero_point=[[3, 15, 0], [6, 0, 7]]), "outside -127 … 127"),
    "zero point of 16": (affine(zero_point=[[3, 16, 0], [8, 0, 7]]), "a number over 15"),
    "zero points of another size": (
        affine(zero_point=[[3, 15], [8, 0]]),
        r"zero_point: U8\(2, 3\) is expected",
    ),
    "zero points as I8": (
        affine(w_zero_point=np.zeros((2, 3), np.int8)),
        r"zero_point: U8\(2, 3\) is expected",
    ),
    "zero points without steps": (affine(w_step=None), "zero_point: there is no step"),
    "a codebook beside the groups": (
        grouped(w_codebook=np.arange(-8, 8, dtype=np.int8)),
        "a codebook and groups at once",
    ),
    "a codebook beside zero points": (
        affine(w_step=None, w_codebook=np.arange(-8, 8, dtype=np.int8)),
        "zero_point: there is no step",
    ),
}
