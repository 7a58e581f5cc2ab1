"""recipe.weights in groups and with zero points: rule 15 of docs/numerics.md, bit for bit."""

import itertools
import math

import numpy as np
import pytest
import torch
from models import conv_bn
from oracle import rules
from oracle.weight_groups import Recipe
from torch import nn
from weight_groups_support import AFFINE, LAYERS, calibrated, expected, made, shipped

FORMATS = [(bits, True) for bits in range(2, 9)] + [(bits, False) for bits in range(2, 8)]


def assert_rule_15(layer, x, recipe, path):
    keys = {"granularity": recipe.granularity, "bits": recipe.bits, "symmetric": recipe.symmetric}
    keys |= {"power_of_two": recipe.power_of_two}
    keys |= {"group": recipe.group} if recipe.granularity == "group" else {}
    qmodel = calibrated(nn.Sequential(layer), x, {"weights": keys})
    layers, _ = shipped(qmodel, path)
    ((codes, multiplier, scale_x),) = layers.values()
    reference, _, scales = expected(layer, recipe)
    assert np.array_equal(codes, reference), recipe
    assert (scale_x * scales).tobytes() == multiplier.tobytes(), recipe
    return reference


@pytest.mark.parametrize(("bits", "symmetric"), FORMATS)
@pytest.mark.parametrize("name", LAYERS)
def test_codes_and_multipliers_are_those_of_rule_15(name, bits, symmetric, tmp_path):
    layer, x = made(name)
    for granularity, group, two in itertools.product(
        ("group", "channel", "tensor"), (4, 32), (False, True)
    ):
        if granularity == "group" or group == 32:
            recipe = Recipe(bits, granularity, group, symmetric, two)
            assert_rule_15(layer, x, recipe, tmp_path / "layer.safetensors")


@pytest.mark.parametrize("name", ["linear", "transposed"])
@pytest.mark.parametrize(("bits", "symmetric"), FORMATS)
def test_ties_and_ranges_that_are_whole_factors(bits, symmetric, name, tmp_path):
    layer, x = made(name)
    for seed in range(10):
        torch.manual_seed(seed)
        with torch.no_grad():
            layer.weight.copy_(torch.randint(-30, 31, layer.weight.shape) / 4)
        recipe = Recipe(bits, "group", 2, symmetric, seed % 2 == 0)
        assert_rule_15(layer, x, recipe, tmp_path / "layer.safetensors")


NAN, INF = math.nan, math.inf
ROWS = {
    "zeros": [[0.0] * 10] * 3,
    "negative zeros": [[-0.0] * 10] * 3,
    "a group of zeros": [[0.0] * 4 + [1, -3, 2, 5] + [0.0] * 2] * 3,
    "a channel of zeros": [[0.0] * 10, [1.0] * 10, [0.0] * 9 + [-2]],
    "positive": [[0.5 + k for k in range(10)]] * 3,
    "negative": [[-0.5 - k for k in range(10)]] * 3,
    "nan": [[NAN] + [1.0] * 9, [NAN] * 10, [NAN] * 4 + [-1.0] * 6],
    "inf": [[INF, -INF] + [0.3, -0.7] * 4, [INF] * 10, [-INF] * 4 + [1, 2] * 3],
    "enormous": [[3e38, -3e38] * 5, [3e38] * 10, [1e38] * 4 + [1.0] * 6],
    "denormal": [[1e-42, -1e-42] * 5, [1e-42] * 10, [1e-42] * 4 + [1.0] * 6],
    "far apart": [[1e30] * 4 + [1e-30] * 6, [1e-12] * 4 + [1e-13] * 6, [2.0**-40] * 10],
}  # fmt: skip


@pytest.mark.parametrize(("bits", "symmetric"), FORMATS)
@pytest.mark.parametrize("kind", ROWS)
def test_weights_that_are_degenerate(kind, bits, symmetric, tmp_path):
    layer, x = nn.Linear(10, 3, bias=False), torch.randn(2, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(ROWS[kind]))
    for granularity, two in itertools.product(("group", "channel", "tensor"), (False, True)):
        if kind == "inf" and symmetric and granularity != "group":
            continue  # rule 5 alone, whose range takes infinities in
        recipe = Recipe(bits, granularity, 4, symmetric, two)
        codes = assert_rule_15(layer, x, recipe, tmp_path / "layer.safetensors")
        zero = (layer.weight == 0) | layer.weight.isnan()
        assert not codes[zero.numpy()].any()


def test_batch_norm_folds_into_the_scale_of_the_groups(tmp_path):
    model, x = conv_bn(3, 8), torch.randn(2, 3, 6, 6)
    qmodel = calibrated(model, x, {"weights": {**AFFINE, "group": 8}})
    layers, _ = shipped(qmodel, tmp_path / "model.safetensors")
    ((codes, multiplier, scale_x),) = layers.values()
    reference, _, scales = expected(model[0], Recipe(4, "group", 8, False))
    norm = model[1]
    numbers = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    gamma, beta, mean, variance = (n.detach().numpy() for n in numbers)
    zero = np.zeros(8, np.float32)
    folded, _ = rules.fold_batch_norm(scale_x * scales, zero, gamma, beta, mean, variance, norm.eps)
    assert np.array_equal(codes, reference)
    assert folded.tobytes() == multiplier.tobytes()
