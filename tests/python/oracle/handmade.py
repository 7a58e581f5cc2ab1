"""Checkpoint files written from docs/format.md with struct, json and hashlib alone."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# In the order of their tensors in the data section.
NAMES = {"int64": "I64", "float32": "F32", "int8": "I8", "uint8": "U8", "bool": "BOOL"}


def codes(shape: Sequence[Any], scale: int, zero_point: int, form: str, name: str = "") -> dict:
    """A value of codes; `scale` is an index into activation_scales."""
    return {
        "name": name,
        "type": "codes",
        "shape": list(shape),
        "scale": scale,
        "zero_point": zero_point,
        "format": form,
    }


def plain(shape: Sequence[Any], kind: str = "float32", name: str = "") -> dict:
    """A value of any other type."""
    return {"name": name, "type": kind, "shape": list(shape)}


def node(op: str, inputs: Sequence[int], outputs: Sequence[int], **attributes: Any) -> dict:
    """A node that is named after its operator."""
    return {
        "op": op,
        "name": f"the_{op}",
        "inputs": list(inputs),
        "outputs": list(outputs),
        **attributes,
    }


def graph(values: list, nodes: list, inputs: Sequence[int], outputs: Sequence[int]) -> dict:
    """The graph object, without output names."""
    return {
        "values": values,
        "nodes": nodes,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "output_names": [],
    }


def file_bytes(the_graph: dict, tensors: dict[str, np.ndarray], **metadata: str) -> bytes:
    """The whole file; `metadata` replaces single entries."""
    entries: dict[str, Any] = {}
    data = b""
    kinds = list(NAMES)
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    for name in sorted(arrays, key=lambda name: (kinds.index(arrays[name].dtype.name), name)):
        array = arrays[name]
        raw = array.tobytes()
        entries[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    entries["__metadata__"] = {
        "format": "qat_ext/1",
        "numerics": "1",
        "graph": json.dumps(the_graph),
        "provenance": "{}",
        "sha256": "0" * 64,
        **metadata,
    }
    return seal(json.dumps(entries), data)


def seal(header: str, data: bytes) -> bytes:
    """Pad the header and put the digest where 64 zeros stand."""
    raw = header.encode()
    raw += b" " * (-len(raw) % 8)
    blank = struct.pack("<Q", len(raw)) + raw + data
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank.replace(b"0" * 64, digest, 1)


def write(path: Path, the_graph: dict, tensors: dict[str, np.ndarray]) -> Path:
    """`file_bytes` into a file."""
    path.write_bytes(file_bytes(the_graph, tensors))
    return path
