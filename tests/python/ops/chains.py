"""Random arguments of the operators on rows of channels, and their reference."""

import dataclasses

import numpy as np
import torch

from ops import reference
from ops.reference import ACTIVATIONS, PARAMETERS, numbers

SHAPES = [((2, 24, 5, 7), 1), ((3, 64, 4, 4), 1), ((2, 3, 17, 3), 1), ((9, 130), 1), ((5, 16), 1)]
SHAPES += [((2, 16, 11), 1), ((2, 7, 33), 2), ((1, 8, 2, 3, 2), 1), ((2, 1, 6, 6), 1)]
SHAPES += [((1, 1100, 2, 2), 1), ((600, 5), 1), ((1, 4200), 1)]
RESIDUALS = [None, torch.float32, torch.uint8, torch.int8]


@dataclasses.dataclass
class Chain:
    acc: torch.Tensor
    multiplier: torch.Tensor | None
    bias: torch.Tensor | None
    residual: torch.Tensor | None
    residual_scale: torch.Tensor | None
    residual_zero_point: torch.Tensor | None
    slope: torch.Tensor | None
    axis: int
    activation: str
    p0: float
    p1: float

    def tensors(self):
        return (
            self.acc,
            self.multiplier,
            self.bias,
            self.residual,
            self.residual_scale,
            self.residual_zero_point,
            self.slope,
        )

    def keywords(self):
        kind = ACTIVATIONS.index(self.activation)
        return {"axis": self.axis, "activation": kind, "p0": self.p0, "p1": self.p1}

    def value(self):
        """What goes into the activation, by rules 7, 3 and 10."""
        optional = [None if t is None else numbers(t) for t in (self.multiplier, self.bias)]
        v = reference.value(numbers(self.acc), *optional, self.axis)
        if self.residual is None:
            return v
        r = numbers(self.residual)
        if self.residual.dtype != torch.float32:
            scale, zero = numbers(self.residual_scale), numbers(self.residual_zero_point)
            r = reference.dequantize(r, scale, zero, self.axis)
        return v + r

    def slopes(self):
        if self.slope is None:
            return self.p0
        return numbers(self.slope).reshape(
            [-1 if a == self.axis else 1 for a in range(self.acc.dim())]
        )

    def result(self):
        return reference.activate(self.value(), self.activation, self.slopes(), self.p1)


def random_chain(shape, axis, activation="relu", residual=None, prelu=False, plain=False):
    channels = shape[axis]
    acc = (torch.randn(shape) * 3000).round()
    residual_tensor = residual_scale = residual_zero = None
    if residual == torch.float32:
        residual_tensor = torch.randn(shape)
    elif residual is not None:
        low = -128 if residual == torch.int8 else 0
        residual_tensor = torch.randint(low, low + 256, shape).to(residual)
        residual_scale = torch.tensor([0.017])
        residual_zero = torch.tensor([low + 100], dtype=torch.int32)
    p0, p1 = PARAMETERS.get(activation, (0.0, 0.0))
    return Chain(
        acc,
        None if plain else torch.randn(channels) * 1e-3,
        None if plain else torch.randn(channels),
        residual_tensor,
        residual_scale,
        residual_zero,
        torch.rand(channels) if prelu else None,
        axis,
        activation,
        p0,
        p1,
    )


def quantizer(channels=1, signed=False):
    scale = torch.linspace(0.011, 0.02, channels)
    zero = torch.arange(channels, dtype=torch.int32) % 5 + (-9 if signed else 90)
    return scale, zero, (-128, 127) if signed else (0, 255)


def finite_range(x):
    finite = x[np.isfinite(x)]
    return [finite.min(), finite.max()] if finite.size else [0.0, 0.0]
