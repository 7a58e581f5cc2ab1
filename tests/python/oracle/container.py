"""The safetensors container of docs/format.md: header, tensors, SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_HEADER = 64 << 20
MAX_DEPTH = 32
MAX_RANK = 8
# In the order of their tensors in the data section.
DTYPES = {"I64": np.int64, "F32": np.float32, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}
METADATA_KEYS = {"format", "numerics", "graph", "provenance", "sha256"}
NAME = re.compile(r"[A-Za-z0-9_./#:-]{1,256}\Z")


class OracleError(ValueError):
    """A file or a call that the documents do not allow."""


def require(condition: bool, message: str) -> None:
    """Raise OracleError with `message` unless `condition` holds."""
    if not condition:
        raise OracleError(message)


def require_keys(item: Any, keys: set[str], where: str) -> None:
    """`item` is an object with exactly `keys`: unknown and missing ones are errors everywhere."""
    require(isinstance(item, dict), f"{where}: an object is expected, got {item!r}")
    require(set(item) == keys, f"{where}: the keys are {sorted(keys)}, got {sorted(item)}")


def is_int(value: Any) -> bool:
    """True for a JSON integer; bool is an int in Python but not in JSON."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Container:
    """The tensors and the metadata of one file whose SHA-256 was right."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


def parse_json(text: str, where: str) -> Any:
    """Strict JSON: no duplicate keys, no NaN or Infinity, at most MAX_DEPTH levels."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        require(len(set(keys)) == len(keys), f"{where}: duplicate key in {keys}")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise OracleError(f"{where}: {name} is not JSON")

    try:
        parsed = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (json.JSONDecodeError, RecursionError) as error:
        raise OracleError(f"{where}: not JSON: {error}") from error
    require(_depth(parsed) <= MAX_DEPTH, f"{where}: nested deeper than {MAX_DEPTH}")
    return parsed


def _depth(item: Any) -> int:
    level, depth = [item], 0
    while level:
        level = [x for x in level if isinstance(x, (dict, list))]
        depth += bool(level)
        level = [y for x in level for y in (x.values() if isinstance(x, dict) else x)]
    return depth


def parse_container(data: bytes) -> Container:
    """Check and read one whole file."""
    require(len(data) >= 8, f"file: 8 bytes of header length are expected, got {len(data)} bytes")
    (size,) = struct.unpack_from("<Q", data)
    require(size <= MAX_HEADER, f"header: at most {MAX_HEADER} bytes, got {size}")
    require(size % 8 == 0, f"header: a multiple of 8 bytes is expected, got {size}")
    require(8 + size <= len(data), f"header: {size} bytes do not fit a file of {len(data)}")
    raw = data[8 : 8 + size]
    require(raw[:1] == b"{", "header: an object is expected at its first byte")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OracleError(f"header: not UTF-8: {error}") from error
    header = parse_json(text, "header")
    metadata = header.pop("__metadata__", None)
    _check_metadata(metadata)
    _check_digest(data, raw, metadata["sha256"])
    return Container(_tensors(header, data[8 + size :]), metadata)


def _check_metadata(metadata: Any) -> None:
    require_keys(metadata, METADATA_KEYS, "__metadata__")
    for key, value in metadata.items():
        require(isinstance(value, str), f"__metadata__.{key}: a string is expected, got {value!r}")
    require(metadata["format"] == "qat_ext/1", f"format: unknown {metadata['format']!r}")
    require(metadata["numerics"] == "1", f"numerics: unknown {metadata['numerics']!r}")
    provenance = parse_json(metadata["provenance"], "provenance")
    require(
        isinstance(provenance, dict) and all(isinstance(v, str) for v in provenance.values()),
        "provenance: an object of strings is expected",
    )


def _check_digest(data: bytes, raw: bytes, digest: str) -> None:
    require(re.fullmatch(r"[0-9a-f]{64}", digest) is not None, f"sha256: got {digest!r}")
    needle = digest.encode()
    require(raw.count(needle) == 1, "sha256: its digits must stand in the header exactly once")
    at = 8 + raw.index(needle)
    blank = data[:at] + b"0" * 64 + data[at + 64 :]
    actual = hashlib.sha256(blank).hexdigest()
    require(actual == digest, f"sha256: the file says {digest}, its bytes give {actual}")


def _tensors(header: dict[str, Any], data: bytes) -> dict[str, np.ndarray]:
    for name, entry in header.items():
        require(NAME.match(name) is not None, f"tensor {name!r}: bad name")
        require_keys(entry, {"dtype", "shape", "data_offsets"}, name)
        require(entry["dtype"] in list(DTYPES), f"{name}: unknown dtype {entry['dtype']!r}")
    kinds = list(DTYPES)
    tensors: dict[str, np.ndarray] = {}
    end = 0
    for name in sorted(header, key=lambda name: (kinds.index(header[name]["dtype"]), name)):
        tensors[name], begin, stop = _tensor(name, header[name], data)
        require(begin == end, f"{name}: starts at {begin}, the one before ends at {end}")
        end = stop
    require(end == len(data), f"file: data ends at {end}, the file at {len(data)}")
    return tensors


def _tensor(name: str, entry: dict[str, Any], data: bytes) -> tuple[np.ndarray, int, int]:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    for what, list_ in (("shape", shape), ("data_offsets", offsets)):
        require(
            isinstance(list_, list) and all(is_int(x) and x >= 0 for x in list_),
            f"{name}: {what}: a list of numbers is expected, got {list_!r}",
        )
    require(len(shape) <= MAX_RANK, f"{name}: rank over {MAX_RANK}: {shape}")
    require(len(offsets) == 2, f"{name}: data_offsets: two numbers are expected, got {offsets}")
    begin, end = offsets
    require(begin <= end <= len(data), f"{name}: {offsets} is outside the {len(data)} bytes")
    kind = np.dtype(DTYPES[dtype])
    require(begin % kind.itemsize == 0, f"{name}: {begin} is not a multiple of {kind.itemsize}")
    require(math.prod(shape) * kind.itemsize == end - begin, f"{name}: {shape} is not {offsets}")
    if dtype == "BOOL":
        require(set(data[begin:end]) <= {0, 1}, f"{name}: a boolean is 0 or 1")
    return np.frombuffer(data[begin:end], kind.newbyteorder("<")).reshape(shape), begin, end
