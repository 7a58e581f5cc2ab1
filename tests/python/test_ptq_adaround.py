"""AdaRound: better than rounding to nearest, repeatable, exact after writing."""

import copy
import re

import pytest
import qat_ext as qat
import torch
from insertion_support import assert_converts
from ptq_support import BATCHES, X, calibrated, net, prepared, weights
from torch import nn


@pytest.mark.parametrize(
    "weights_recipe",
    [
        {"bits": 4},
        {"bits": 8},
        {"bits": 3, "granularity": "tensor"},
        {"bits": 4, "power_of_two": True},
        {"bits": 4, "method": "mse"},
        {"bits": 4, "method": "lsq"},
    ],
)
def test_adaround_rounds_better_than_to_nearest(weights_recipe):
    model = net()
    qmodel = calibrated(prepared(model, {"weights": weights_recipe}))
    with torch.no_grad():
        qmodel(X)  # methods with parameters take them from the first weight
    largest = {
        name: module.weight.detach().abs().flatten(1).amax(1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    layers = qat.adaround(qmodel, BATCHES, iterations=100)
    assert list(layers) == ["conv", "deep", "point", "head"]
    for layer in layers.values():
        assert layer.error <= layer.nearest_error
    total = sum(layer.error / layer.nearest_error for layer in layers.values()) / len(layers)
    assert total < (0.98 if weights_recipe["bits"] == 8 else 0.8)
    assert any(layer.changed > 0.02 for layer in layers.values())
    for name, before in largest.items():  # the scales have not moved
        after = model.get_submodule(name).weight.detach().abs().flatten(1).amax(1)
        assert torch.equal(after.amax(), before.amax())
        if weights_recipe.get("granularity") != "tensor":
            assert torch.equal(after, before)
    assert_converts(qmodel, X)


def test_adaround_reports_the_error_that_the_layer_has():
    """The layer with batch norm and ReLU, before its result is rounded; float32 sums against
    integer ones differ by some 2^-20 of the values, the error by some 1e-4 of itself."""
    model = net()
    floating = copy.deepcopy(model)
    qmodel = calibrated(prepared(model))
    before = first_layer_error(qmodel, floating)
    layer = qat.adaround(qmodel, BATCHES, iterations=100)["conv"]
    after = first_layer_error(qmodel, floating)
    assert layer.nearest_error == pytest.approx(before, rel=1e-3)
    assert layer.error == pytest.approx(after, rel=1e-3)
    assert after < before


def first_layer_error(qmodel, floating):
    """Behind ReLU, from the real value before the quantizer."""
    with torch.no_grad(), qat.taps(qmodel, ["bn1"]) as taps:
        errors = []
        for batch in BATCHES:
            qmodel(batch)
            wanted = torch.relu(floating.bn1(floating.conv(batch))).double()
            errors.append((taps["bn1"].double().relu() - wanted).square().mean().item())
    return sum(errors) / len(errors)


def test_adaround_is_repeatable_and_draws_nothing():
    states = []
    for _ in range(2):
        model = net()
        qmodel = calibrated(prepared(model))
        state = torch.get_rng_state()
        qat.adaround(qmodel, BATCHES, iterations=20, samples=30, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(weights(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


REFUSED = "the weight method '{}' does not give back the codes that adaround writes; use absmax, "
REFUSED += "mse, lsq or tqt"


@pytest.mark.parametrize("method", ["dorefa", "ternary", "binary"])
def test_adaround_refuses_methods_that_cannot_hold_codes(method):
    model = net()
    qmodel = calibrated(
        prepared(model, {"weights": {"bits": 4 if method == "dorefa" else 2, "method": method}})
    )
    before = weights(model)
    with pytest.raises(qat.Error, match=f"^adaround: 'conv': {re.escape(REFUSED.format(method))}$"):
        qat.adaround(qmodel, BATCHES)
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())
