"""Weights in groups and with zero points: every form of a model, other sections, gradients."""

import copy
import math

import numpy as np
import pytest
import qat_ext as qat
import torch
from equality import check
from models import SMALL
from oracle.weight_groups import Recipe
from torch import nn
from weight_groups_support import AFFINE, GROUPS, LAYERS, calibrated, expected, made, shipped

NETS = ["residual", "inverted", "decoder", "perceptron", "mixed"]
WEIGHTS = {
    "groups": GROUPS,
    "groups-affine": AFFINE,
    "channel-affine": {"bits": 3, "symmetric": False},
    "tensor-affine": {"bits": 4, "symmetric": False, "granularity": "tensor"},
    "groups-two": {**AFFINE, "bits": 2, "group": 8, "power_of_two": True},
    "groups-eight": {**GROUPS, "bits": 8, "group": 4},
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("net", NETS)
def test_every_form_of_a_model_gives_the_same_bits(net, weights, tmp_path):
    model, example = SMALL[net]()
    check(model, example, {"weights": WEIGHTS[weights]}, tmp_path)


MORE = {
    "2:4": {"prune": {"method": "2:4", "end": 0.0}},
    "magnitude": {"prune": {"method": "magnitude", "sparsity": 0.75, "end": 0.0}},
    "channel": {"prune": {"method": "channel", "end": 0.0}},
    "ends": {"rules": [{"sites": s, "weight_bits": 8} for s in ("<first>", "<last>")]},
    "damping": {"oscillation": {"damping": 0.1}},
    "tensorrt": {"target": "tensorrt"},
    "x86": {"target": "x86"},
    "learned": {"activations": {"bits": 4, "method": "lsq"}},
    "int16": {"numerics": {"backward": "int16", "save": "recompute"}},
    "float32": {"numerics": {"forward": "float32", "fused": False}},
}


@pytest.mark.parametrize("weights", [GROUPS, AFFINE], ids=["symmetric", "affine"])
@pytest.mark.parametrize("more", MORE)
def test_together_with_the_other_sections(more, weights, tmp_path):
    model, example = SMALL["residual"]()
    check(model, example, {"weights": weights, **MORE[more]}, tmp_path)


@pytest.mark.parametrize("weights", [GROUPS, AFFINE], ids=["symmetric", "affine"])
@pytest.mark.parametrize("method", ["2:4", "magnitude"])
def test_a_pruned_weight_has_the_code_zero(method, weights, tmp_path):
    model, example = SMALL["residual"]()
    made = check(model, example, {"weights": weights, **MORE[method]})
    state = made.qmodel.quantizers.state_dict()
    masks = {k.removesuffix(".weight.mask"): v for k, v in state.items() if k.endswith(".mask")}
    layers, _ = shipped(made.qmodel, tmp_path / "model.safetensors")
    assert len(masks) >= 4
    for name, mask in masks.items():
        layer, codes = model.get_submodule(name), layers[name][0]
        assert not codes[mask.numpy() == 0].any()
        reference = expected(layer, Recipe(symmetric=weights is GROUPS), layer.weight * mask)[0]
        assert np.array_equal(codes, reference), name


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_first_and_the_last_layer_at_8_bits_are_symmetric(symmetric, tmp_path):
    model, example = SMALL["residual"]()
    recipe = {"weights": {**GROUPS, "symmetric": symmetric}, **MORE["ends"]}
    qmodel = calibrated(model, example, recipe)
    layers, _ = shipped(qmodel, tmp_path / "model.safetensors")
    ends = {"stem.0": Recipe(8, "group"), "head": Recipe(8, "group")}
    assert len(layers) == 6
    for name, (codes, _, _) in layers.items():
        recipe = ends.get(name, Recipe(4, symmetric=symmetric))
        assert np.array_equal(codes, expected(model.get_submodule(name), recipe)[0]), name


# ---- training


def exact(layer, x, weights, **recipe):
    """A prepared layer that computes without rounding, and its integer input.

    The input's scale is 1 and its zero point 0; the weights' scales are powers of two. Sums of at
    most 147 products of a code up to 255 and one up to 127 stay below 2^24.
    """
    x = torch.randint(0, 256, x.shape).float()
    x.view(-1)[0] = 255
    weights = {**weights, "power_of_two": True}
    chosen = {"weights": weights, "activations": {"method": "minmax"}, **recipe}
    return calibrated(nn.Sequential(layer), x, chosen), x.requires_grad_()


def dequantized(layer, recipe):
    codes, scales, _ = expected(layer, recipe)
    made = copy.deepcopy(layer)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(codes * scales.astype(np.float64)))
    return made


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["group", "channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_a_float_layer_with_the_dequantized_weights(
    name, granularity, symmetric
):
    layer, x = made(name)
    if granularity == "channel" and symmetric:
        granularity = "tensor"  # per channel without zero points rule 15 is not needed
    keys = {"bits": 4, "granularity": granularity, "symmetric": symmetric}
    keys |= {"group": 8} if granularity == "group" else {}
    qmodel, x = exact(layer, x, keys)
    float_layer = dequantized(layer, Recipe(4, granularity, 8, symmetric, True))
    ours = qmodel.train()(x)
    gradient = torch.randint(-8, 9, ours.shape).float()
    ours.backward(gradient)
    input_gradient, x.grad = x.grad, None
    theirs = float_layer(x)
    theirs.backward(gradient)
    assert torch.equal(ours, theirs)
    assert torch.equal(layer.weight.grad, float_layer.weight.grad)
    assert torch.equal(input_gradient, x.grad)
    assert layer.weight.grad.any()


def test_a_clipped_weight_has_its_gradient_too():
    # The step is 1 and the zero point rne(1.5) = 2, so that 13.5 is clipped to 15 - 2.
    layer = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.5, 13.5, 3.0, math.inf, -math.inf, math.nan]]))
    qmodel, x = exact(layer, torch.empty(3, 6), {"bits": 4, "symmetric": False})
    out = qmodel.train()(x)
    assert torch.equal(out, x @ torch.tensor([[-2.0, 13, 3, 13, -2, 0]]).T)
    out.sum().backward()
    assert torch.equal(layer.weight.grad, x.detach().sum(0, keepdim=True))


@pytest.mark.parametrize("symmetric", [True, False])
def test_stages_quantize_with_the_bits_of_their_time(symmetric):
    layer, x = made("linear")
    stages = [
        {"until": 0.3, "weights": 8, "activations": 8},
        {"until": 0.6, "weights": 6, "activations": 8},
    ]
    keys = {**GROUPS, "group": 4, "symmetric": symmetric}
    qmodel, x = exact(layer, x, keys, schedule={"stages": stages})
    for fraction, bits in ((0.0, 8), (0.3, 6), (0.6, 4), (1.0, 4)):
        qat.step(qmodel, fraction)
        # 8 bits leave no room for a zero point.
        recipe = Recipe(bits, "group", 4, symmetric or bits == 8, True)
        assert torch.equal(qmodel.eval()(x), dequantized(layer, recipe)(x)), fraction
    assert qat.verify(qmodel, qat.convert(qmodel), [x.detach()]).equal


@pytest.mark.parametrize("name", ["conv", "transposed", "linear"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_damping_draws_weights_to_the_values_of_their_groups(symmetric, name):
    layer, x = made(name)
    keys = {**GROUPS, "group": 8, "symmetric": symmetric}
    qmodel, x = exact(layer, x, keys, oscillation={"damping": 0.5})
    qat.step(qmodel, 0.25)
    qmodel.train()(x)
    loss = qat.oscillation_loss(qmodel)
    loss.backward()
    reference = dequantized(layer, Recipe(4, "group", 8, symmetric, True)).weight.detach().double()
    weight, factor = layer.weight.detach().double(), 0.5 * (1 - math.cos(math.pi * 0.25)) / 2
    distance = weight - reference
    # Powers of two raise every step above the range's, so that no weight is clipped. Each float32
    # difference, square and sum rounds by 2^-24, at most 588 sums after one another.
    assert loss.item() == pytest.approx(factor * distance.square().sum().item(), rel=600 * 2.0**-24)
    bound = 4 * 2.0**-24 * factor * distance.abs().max().item()
    gradient = 2 * factor * distance
    torch.testing.assert_close(layer.weight.grad.double(), gradient, rtol=2.0**-22, atol=bound)


@pytest.mark.parametrize("weights", [GROUPS, AFFINE], ids=["symmetric", "affine"])
def test_equalized_weights_ship(weights, tmp_path):
    model, example = SMALL["residual"]()
    qmodel = qat.prepare(model.eval(), example, {"weights": weights})
    qat.equalize(qmodel)
    with qat.calibrate(qmodel):
        qmodel(example)
    int8 = qat.convert(qmodel.eval())
    assert qat.verify(qmodel, int8, [example]).equal
