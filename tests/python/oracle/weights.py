"""The forms in which a file holds the codes of a weight: plain, with a codebook, in groups."""

from __future__ import annotations

import numpy as np

from .container import require
from .rules import Format

CODEBOOK, STEP, ZERO_POINT = SUFFIXES = (".codebook", ".step", ".zero_point")


def read_weight(
    tensors: dict[str, np.ndarray], name: str, form: Format, shape: list[int], where: str
) -> np.ndarray:
    """The codes of the weight tensor `name`, int64 of `shape`, whatever its form."""
    stored = tensors[name]
    book, step, zero_point = (tensors.get(name + suffix) for suffix in SUFFIXES)
    require(book is None or step is None, f"{where}: weight: a codebook and groups at once")
    require(step is not None or zero_point is None, f"{where}: zero_point: there is no step")
    if book is not None:
        return look_up(stored, book, form, shape, where)
    if step is not None:
        return multiply(stored, step, zero_point, form, shape, where)
    return unpack(stored, form, shape, where)


def unpack(tensor: np.ndarray, form: Format, shape: list[int], where: str) -> np.ndarray:
    """Codes of a weight tensor: I8 for 8 bits, else `b` bits each, lowest bits first."""
    if form.bits == 8:
        fits = tensor.dtype == np.int8 and list(tensor.shape) == list(shape)
        require(fits, f"{where}: weight: I8{shape} is expected, got {tensor.dtype}{tensor.shape}")
        codes = tensor.astype(np.int64)
    else:
        plain = _numbers(tensor, form.bits, shape, where)
        codes = plain if form.kind == "u" else _signed(plain, form.bits)
    inside = (form.qmin <= codes) & (codes <= form.qmax)
    require(bool(inside.all()), f"{where}: weight: a code outside {form.qmin} … {form.qmax}")
    return codes


def look_up(
    tensor: np.ndarray, book: np.ndarray, form: Format, shape: list[int], where: str
) -> np.ndarray:
    """Codes of a weight tensor that is stored as indices into a codebook."""
    fits = book.dtype == np.int8 and book.ndim == 1
    require(fits, f"{where}: codebook: I8[n] is expected, got {book.dtype}{book.shape}")
    most, entries = 2 ** (form.bits - 1), book.astype(np.int64)
    require(0 < len(book) <= most, f"{where}: codebook: 1 to {most} codes, got {len(book)}")
    require(bool((np.diff(entries) > 0).all()), f"{where}: codebook: the codes do not ascend")
    inside = (form.qmin <= entries) & (entries <= form.qmax)
    require(bool(inside.all()), f"{where}: weight: a code outside {form.qmin} … {form.qmax}")
    numbers = _numbers(tensor, max(1, (len(book) - 1).bit_length()), shape, where)
    require(int(numbers.max()) < len(book), f"{where}: weight: an index over {len(book) - 1}")
    require(len(np.unique(numbers)) == len(book), f"{where}: codebook: a code without an index")
    return entries[numbers]


def multiply(
    tensor: np.ndarray,
    step: np.ndarray,
    zero_point: np.ndarray | None,
    form: Format,
    shape: list[int],
    where: str,
) -> np.ndarray:
    """Codes `step·(q - zero_point)` of a weight tensor that is stored in groups."""
    count, rows = int(np.prod(shape)), shape[0]
    require(form == Format("n", 8), f"{where}: weight: groups have the format n8")
    require(count >= 8, f"{where}: weight: groups have 8 codes or more, got {count}")
    fits = tensor.dtype == np.uint8 and tensor.ndim == 1
    require(fits, f"{where}: weight: U8[bytes] is expected, got {tensor.dtype}{tensor.shape}")
    bits = 8 * tensor.size // count
    require(2 <= bits <= 7, f"{where}: weight: 2 to 7 bits, got {bits}")
    size = _per_group(step, rows, count // rows, f"{where}: step")
    inside = (step >= 1) & (step <= 127)
    require(bool(inside.all()), f"{where}: step: a number outside 1 … 127")
    plain = _numbers(tensor, bits, [rows, count // rows], where)
    if zero_point is None:
        q = _signed(plain, bits)
    else:
        fits = zero_point.dtype == np.uint8 and zero_point.shape == step.shape
        require(fits, f"{where}: zero_point: U8{step.shape} is expected, got {zero_point.shape}")
        most = 2**bits - 1
        require(bool((zero_point <= most).all()), f"{where}: zero_point: a number over {most}")
        q = plain - _spread(zero_point, size, count // rows)
    codes = _spread(step, size, count // rows) * q
    require(bool((abs(codes) <= 127).all()), f"{where}: weight: a code outside -127 … 127")
    return codes.reshape(shape)


def _per_group(step: np.ndarray, rows: int, length: int, where: str) -> int:
    """How many codes a group has, when `step` is [rows, n] and only the last group is shorter."""
    fits = step.dtype == np.uint8 and step.ndim == 2 and step.shape[0] == rows
    require(fits, f"{where}: U8[{rows}, n] is expected, got {step.dtype}{step.shape}")
    groups = step.shape[1]
    require(1 <= groups <= length, f"{where}: 1 to {length} groups, got {groups}")
    size = -(-length // groups)
    cut = -(-length // size)
    require(cut == groups, f"{where}: {length} codes make {cut} groups of {size}, got {groups}")
    return size


def _spread(groups: np.ndarray, size: int, length: int) -> np.ndarray:
    """[rows, n] to [rows, length], a group's number at each of its codes."""
    return np.repeat(groups.astype(np.int64), size, axis=1)[:, :length]


def _signed(plain: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of `bits` bits."""
    return plain - ((plain >> (bits - 1)) << bits)


def _numbers(tensor: np.ndarray, bits: int, shape: list[int], where: str) -> np.ndarray:
    """Unsigned numbers of `bits` bits each, int64 of `shape`."""
    count = int(np.prod(shape))
    size = -(-count * bits // 8)
    fits = tensor.dtype == np.uint8 and tensor.shape == (size,)
    require(fits, f"{where}: weight: U8[{size}] is expected, got {tensor.dtype}{tensor.shape}")
    unpacked = np.unpackbits(tensor, bitorder="little")
    require(not unpacked[count * bits :].any(), f"{where}: weight: spare bits are not zero")
    rows = unpacked[: count * bits].reshape(count, bits).astype(np.int64)
    return (rows << np.arange(bits)).sum(axis=1).reshape(shape)
