"""Layers, files and rule 15's reading of them, for the tests of weights in groups."""

from pathlib import Path
from typing import Any

import numpy as np
import qat_ext as qat
import torch
from oracle import load, weight_groups
from oracle.model import Model
from oracle.weight_groups import Recipe
from torch import nn

GROUPS = {"bits": 4, "granularity": "group", "group": 32}
AFFINE = {**GROUPS, "symmetric": False}
# K is 147, 36, 9, 10, 1, 27 and 10.
LAYERS = {
    "conv": lambda: (nn.Conv2d(3, 4, 7, bias=False), (2, 3, 9, 9)),
    "grouped": lambda: (nn.Conv2d(8, 6, 3, groups=2, bias=False), (2, 8, 5, 5)),
    "depthwise": lambda: (nn.Conv2d(6, 6, 3, groups=6, bias=False), (2, 6, 5, 5)),
    "linear": lambda: (nn.Linear(10, 4, bias=False), (3, 10)),
    "single": lambda: (nn.Linear(1, 1, bias=False), (3, 1)),
    "transposed": lambda: (nn.ConvTranspose2d(6, 4, 3, 2, groups=2, bias=False), (2, 6, 4, 4)),
    "conv1d": lambda: (nn.Conv1d(5, 3, 2, bias=False), (2, 5, 8)),
}


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A layer whose weights differ by orders of magnitude, and its input."""
    layer, shape = LAYERS[name]()
    with torch.no_grad():
        layer.weight.mul_(torch.randn(layer.weight.shape).mul(2).exp())
    return layer, torch.randn(shape)


def calibrated(model: nn.Module, x: torch.Tensor, recipe: dict[str, Any]) -> nn.Module:
    """The prepared model in eval(), its ranges those of `x`."""
    qmodel = qat.prepare(model, x, recipe)
    with qat.calibrate(qmodel):
        qmodel(x)
    return qmodel.eval()


Layer = tuple[np.ndarray, np.ndarray, np.float32]


def shipped(qmodel: nn.Module, path: Path) -> tuple[dict[str, Layer], Model]:
    """The oracle's reading of the file: per layer its codes, its multiplier and scale_x."""
    qat.convert(qmodel).save(path)
    file = load(path)
    layers = {}
    for index, codes in file.weights.items():
        node = file.nodes[index]
        multiplier = file.tensors[node.attributes["multiplier"]]
        layers[node.name] = codes, multiplier, file.values[node.inputs[0]].scale
    return layers, file


def expected(
    layer: nn.Module, recipe: Recipe, weight: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rule 15 on a layer: codes and scales in the weight's shape, and one scale per channel."""
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    groups = getattr(layer, "groups", 1)
    values = (layer.weight if weight is None else weight).detach().numpy()
    codes, scales = weight_groups.quantize(weight_groups.rows(values, transposed, groups), recipe)
    # The index of each weight in the rows puts codes and scales into the weight's shape.
    index = weight_groups.rows(np.arange(values.size).reshape(values.shape), transposed, groups)
    placed, spread = np.empty(values.size, np.int64), np.empty(values.size, np.float32)
    placed[index], spread[index] = codes, scales[:, None]
    return placed.reshape(values.shape), spread.reshape(values.shape), scales
