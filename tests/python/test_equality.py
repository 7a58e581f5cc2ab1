"""Bit equality of every form of a model, for models and recipes."""

import pytest
from equality import check
from models import LARGE, SMALL

RECIPES = {
    "int8": "int8",
    "int8-symmetric": "int8-symmetric",
    "power_of_two": {"weights": {"power_of_two": True}, "activations": {"power_of_two": True}},
    "per_tensor": {"weights": {"granularity": "tensor"}},
    "w4": {"weights": {"bits": 4}},
    "w2_a7": {"weights": {"bits": 2}, "activations": {"bits": 7}},
    "w3_a6": {"weights": {"bits": 3}, "activations": {"bits": 6}},
    "w5_a5_symmetric": {"target": "tensorrt", "weights": {"bits": 5}, "activations": {"bits": 5}},
    "w6_a4": {"weights": {"bits": 6, "granularity": "tensor"}, "activations": {"bits": 4}},
    "w7_a3": {"weights": {"bits": 7}, "activations": {"bits": 3, "symmetric": True}},
    "w8_a2": {"activations": {"bits": 2}},
}
# Per model a pattern that some of its layers match.
RULED = {
    "perceptron": "2*", "residual": "left*", "inverted": "depthwise*", "dense": "convs.1*",
    "branches": "wide*", "mixed": "mlp*", "decoder": "up*",
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", SMALL)
def test_small(model, recipe, tmp_path):
    made, example = SMALL[model]()
    check(made, example, RECIPES[recipe], tmp_path)


@pytest.mark.parametrize("model", SMALL)
def test_rules(model, tmp_path):
    made, example = SMALL[model]()
    whole = check(made, example, "int8").int8.nodes()
    made, example = SMALL[model]()
    rules = [
        {"sites": "*", "weight_bits": 4, "activation_bits": 6},
        {"sites": RULED[model], "keep_float": True},
    ]
    result = check(made, example, {"rules": rules}, tmp_path, fraction=0.0)

    def layers(nodes):
        return sum(operator in ("conv", "linear") for _, operator in nodes)

    assert 0 < layers(result.int8.nodes()) < layers(whole)
    formats = {value.format.bits for value in result.file.values if value.format is not None}
    weights = {node.attributes.get("weight_format") for node in result.file.nodes} - {None}
    assert (formats, weights) == ({6}, {"s4"})


@pytest.mark.parametrize("model", LARGE)
def test_large(model, tmp_path):
    made, example = LARGE[model]()
    check(made, example, "int8", tmp_path)


@pytest.mark.parametrize("model", ["mobilenet_v3_small", "shufflenet", "vit", "bert"])
def test_large_symmetric(model, tmp_path):
    made, example = LARGE[model]()
    recipe = {"target": "tensorrt", "weights": {"bits": 5, "power_of_two": True}}
    check(made, example, recipe, tmp_path)
