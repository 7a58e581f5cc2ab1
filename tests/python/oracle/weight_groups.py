"""Rule 15 of docs/numerics.md: codes of weights in groups and with zero points, group by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import rules
from .rules import Format

F = np.float32


@dataclass(frozen=True)
class Recipe:
    """The keys of `recipe.weights` that rule 15 reads."""

    bits: int = 4
    granularity: str = "group"
    group: int = 32
    symmetric: bool = True
    power_of_two: bool = False

    @property
    def format(self) -> Format:
        """Of `q`: rule 1's, signed and narrow at 8 bits, or unsigned with zero points."""
        if not self.symmetric:
            return Format("u", self.bits)
        return Format("n" if self.bits == 8 else "s", self.bits)

    @property
    def largest(self) -> int:
        """`L`, the largest magnitude of `q - zp`."""
        if not self.symmetric:
            return 2**self.bits - 1
        return 127 if self.bits == 8 else 2 ** (self.bits - 1)

    def group_sizes(self, length: int) -> list[int]:
        """How many neighbours each group of a channel of `length` weights has."""
        groups = -(-length // self.group) if self.granularity == "group" else 1
        size = -(-length // groups)
        return [min(size, length - start) for start in range(0, length, size)]


def rows(weight: np.ndarray, transposed: bool = False, groups: int = 1) -> np.ndarray:
    """One row of weights per output channel, [channels, K]."""
    if not transposed:
        return weight.reshape(weight.shape[0], -1)
    inputs, outputs, *kernel = weight.shape
    cut = weight.reshape(groups, inputs // groups, outputs, *kernel)
    return np.swapaxes(cut, 1, 2).reshape(groups * outputs, -1)


def quantize(channels: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The codes that a layer multiplies, int64 of [channels, K], and the scales, F32[channels]."""
    with np.errstate(all="ignore"):
        if recipe.granularity == "tensor":
            codes, scale = _channel(channels.ravel(), recipe)
            return codes.reshape(channels.shape), np.repeat(scale, len(channels))
        made = [_channel(row, recipe) for row in channels]
    return np.stack([codes for codes, _ in made]), np.array([scale for _, scale in made], F)


def _channel(weights: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.float32]:
    sizes = recipe.group_sizes(weights.size)
    groups = np.split(weights.astype(F), np.cumsum(sizes)[:-1])
    limit = 1 if len(groups) == 1 else 127 // recipe.largest
    form, affine = recipe.format, not recipe.symmetric
    ranges = [_range(group) for group in groups]
    scales = [rules.parameters(lo, hi, form, recipe.symmetric)[0] for lo, hi in ranges]
    scale = rules.bounded(F(max(scales)) / F(limit), recipe.power_of_two)
    codes = []
    for group, (lo, _), t in zip(groups, ranges, scales, strict=True):
        factor = int(min(max(np.ceil(t / scale), F(1)), F(limit)))
        step = scale * F(factor)
        zero_point = int(min(max(np.rint(-lo / step), F(0)), F(form.qmax))) if affine else 0
        codes.append(factor * (rules.quantize(group, step, zero_point, form) - zero_point))
    return np.concatenate(codes), scale


def _range(group: np.ndarray) -> tuple[np.float32, np.float32]:
    """The smallest and the largest finite weight, as in rule 5 never above and below 0."""
    finite = group[np.isfinite(group)]
    return min(finite.min(initial=F(0)), F(0)), max(finite.max(initial=F(0)), F(0))
