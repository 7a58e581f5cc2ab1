"""Weights in groups and with zero points: the file, the plan, and what is refused."""

import json

import numpy as np
import oracle
import pytest
import qat_ext as qat
import torch
from equality import same_bits
from oracle.grouped_files import FAULTS, GOOD
from oracle.weight_groups import Recipe
from qat_ext import _C
from torch import nn
from weight_groups_support import AFFINE, GROUPS, calibrated, expected, shipped

SUFFIXES = ("", ".step", ".zero_point", ".codebook")


def stored(layer, x, weights, path):
    """The parts of the only weight in the file, and the whole file."""
    layers, file = shipped(calibrated(nn.Sequential(layer), x, {"weights": weights}), path)
    assert len(layers) == 1
    (index,) = file.weights
    name = file.nodes[index].attributes["weight"]
    assert file.nodes[index].attributes["weight_format"] == "n8"
    parts = {suffix: file.tensors.get(name + suffix) for suffix in SUFFIXES}
    return {suffix: tensor for suffix, tensor in parts.items() if tensor is not None}, file


@pytest.mark.parametrize(
    ("bits", "symmetric", "documented"),
    [(4, True, 0.531), (3, True, 0.406), (2, True, 0.281),
     (4, False, 0.563), (3, False, 0.438), (2, False, 0.313)],
)  # fmt: skip
def test_bytes_per_weight_are_those_of_the_table(bits, symmetric, documented, tmp_path):
    layer = nn.Conv2d(64, 32, 3, bias=False)
    weights = {**GROUPS, "bits": bits, "symmetric": symmetric}
    path = tmp_path / "model.safetensors"
    parts, _ = stored(layer, torch.randn(1, 64, 4, 4), weights, path)
    count = layer.weight.numel()
    assert parts[""].size == count * bits // 8
    assert parts[".step"].shape == (32, 576 // 32)
    assert set(parts) == {"", ".step"} | (set() if symmetric else {".zero_point"})
    share = sum(part.nbytes for part in parts.values()) / count
    # The table has three digits, halves up.
    assert documented == int(share * 1000 + 0.5) / 1000
    # Scales, metadata and the graph: well below the weights themselves.
    assert path.stat().st_size < share * count + 4096


def test_the_file_gives_back_the_model(tmp_path):
    layer, x = nn.Linear(147, 40), torch.randn(3, 147)
    parts, file = stored(layer, x, AFFINE, tmp_path / "model.safetensors")
    assert parts[".step"].shape == (40, 5) and parts[""].size == 147 * 40 // 2
    (codes,) = file.weights.values()
    assert np.array_equal(codes, expected(layer, Recipe(symmetric=False))[0])
    loaded = qat.load(tmp_path / "model.safetensors")
    loaded.save(tmp_path / "again.safetensors")
    again = (tmp_path / "again.safetensors").read_bytes()
    assert again == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("weights", [GROUPS, AFFINE], ids=["symmetric", "affine"])
def test_a_small_weight_and_a_transposed_one_are_not_stored_in_groups(weights, tmp_path):
    path = tmp_path / "model.safetensors"
    small, _ = stored(nn.Linear(10, 4), torch.randn(3, 10), weights, path)
    assert set(small) == {""} and small[""].dtype == np.int8
    transposed = nn.ConvTranspose2d(64, 32, 3, bias=False)
    parts, file = stored(transposed, torch.randn(1, 64, 3, 3), weights, path)
    assert ".step" not in parts and ".zero_point" not in parts
    (codes,) = file.weights.values()
    recipe = Recipe(symmetric=weights is GROUPS)
    assert np.array_equal(codes, expected(transposed, recipe)[0])


@pytest.mark.parametrize("name", GOOD)
def test_files_by_hand_mean_the_same_to_both_readers(name, tmp_path):
    path = tmp_path / "hand.safetensors"
    path.write_bytes(GOOD[name])
    file = oracle.load(path)
    x = torch.randn(64, *file.values[0].shape[1:]) * 40
    (theirs,) = oracle.run(file, [x.numpy()])
    same_bits([qat.load(path)(x)], [torch.from_numpy(theirs)], name)


@pytest.mark.parametrize("fault", FAULTS)
def test_files_by_hand_are_refused_with_their_place(fault, tmp_path):
    path = tmp_path / "hand.safetensors"
    path.write_bytes(FAULTS[fault][0])
    with pytest.raises(qat.Error) as error:
        qat.load(path)
    assert str(error.value).startswith(f"{path}: tensor 'w': ")


# ---- the recipe and the plan


def test_the_keys_are_read_and_written_back():
    read = json.loads(_C.check_recipe(json.dumps({"weights": {**AFFINE, "group": 8}})))
    assert read["weights"].items() >= {**AFFINE, "group": 8}.items()
    assert json.loads(_C.check_recipe(json.dumps(read))) == read
    plain = json.loads(_C.check_recipe("{}"))["weights"]
    assert (plain["granularity"], plain["group"], plain["symmetric"]) == ("channel", 32, True)


def lines(weights, **recipe):
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8))
    qmodel = qat.prepare(model, torch.ones(2, 64), {"weights": weights, **recipe})
    return [line.split(maxsplit=4) for line in qat.plan(qmodel).splitlines() if " w " in line]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (AFFINE, ["u4", "groups of 32  absmax, affine"]),
        (GROUPS, ["s4", "groups of 32  absmax, symmetric"]),
        ({**AFFINE, "bits": 2, "group": 8}, ["u2", "groups of 8  absmax, affine"]),
        ({"bits": 3, "symmetric": False}, ["u3", "per channel  absmax, affine"]),
        ({"bits": 7, "symmetric": False, "granularity": "tensor"},
         ["u7", "per tensor  absmax, affine"]),
    ],
)  # fmt: skip
def test_the_plan_names_groups_and_zero_points(weights, expected):
    shown = [[line[3], " ".join(line[4].split())] for line in lines(weights)]
    assert shown == [[expected[0], " ".join(expected[1].split())]] * 2


def test_the_plan_of_a_layer_at_8_bits():
    first, last = lines(AFFINE, rules=[{"sites": "<last>", "weight_bits": 8}])
    assert (first[3], first[4].split()[-1]) == ("u4", "affine")
    assert (last[3], last[4].split()[-1]) == ("s8", "symmetric")


# ---- what is refused

ONLY_ABSMAX = "recipe.weights: {} goes with method absmax, got {}"
TO_NEAREST = (
    "recipe.weights: {} rounds to nearest; expected rounding: nearest and noise: 0, "
    "got rounding: {} and noise: {}"
)
GROUP, ZERO = "granularity: group", "symmetric: false"
CHANNEL_ZERO = {"bits": 4, "symmetric": False}
REFUSED = [
    *(({"weights": {**GROUPS, "method": m, "bits": b}}, ONLY_ABSMAX.format(GROUP, m))
      for m, b in (("mse", 4), ("lsq", 4), ("tqt", 4), ("dorefa", 4), ("ternary", 2),
                   ("binary", 2))),
    ({"weights": {**CHANNEL_ZERO, "method": "lsq"}}, ONLY_ABSMAX.format(ZERO, "lsq")),
    ({"weights": GROUPS, "rules": [{"sites": "*", "weight_method": "lsq"}]},
     "recipe.rules[0]: granularity: group goes with method absmax, got lsq"),
    ({"weights": {**AFFINE, "bits": 8}},
     "recipe.weights.symmetric: false takes 2 to 7 bits, as 8 bits less a zero point do not fit "
     "int8; got bits: 8"),
    ({"weights": {**GROUPS, "rounding": "stochastic"}},
     TO_NEAREST.format(GROUP, "stochastic", "0.000000")),
    ({"weights": {**GROUPS, "noise": 0.5}},
     TO_NEAREST.format(GROUP, "nearest", "0.500000")),
    ({"weights": {**CHANNEL_ZERO, "rounding": "stochastic"}},
     TO_NEAREST.format(ZERO, "stochastic", "0.000000")),
    ({"weights": {**CHANNEL_ZERO, "noise": 0.5}},
     TO_NEAREST.format(ZERO, "nearest", "0.500000")),
    ({"weights": GROUPS, "cluster": {"values": 16}},
     "recipe.weights: granularity group cannot go with recipe.cluster: one codebook for a layer "
     "needs one scale; set granularity: tensor"),
    ({"weights": {**CHANNEL_ZERO, "granularity": "tensor"}, "cluster": {"values": 16}},
     "recipe.weights: symmetric: false cannot go with recipe.cluster, whose codes have no zero "
     "point; set symmetric: true"),
    ({"weights": {**GROUPS, "group": 24}}, "recipe.weights.group: expected a power of two, got 24"),
    *(({"weights": {**GROUPS, "group": group}},
       f"recipe.weights.group: expected an integer from 2 to 65536, got {group}")
      for group in (1, 0, -4, 2.5, 2**20)),
    ({"weights": {"bits": 4, "group": 16}}, "recipe.weights.group: 16 needs granularity: group"),
    ({"weights": {"bits": 4, "granularity": "row"}},
     'recipe.weights.granularity: expected one of tensor, channel, group, got "row"'),
    ({"weights": {"symmetric": "no"}},
     'recipe.weights.symmetric: expected true or false, got "no"'),
]  # fmt: skip


def refusal(function, *arguments):
    with pytest.raises(qat.Error) as error:
        function(*arguments)
    return str(error.value)


@pytest.mark.parametrize(("recipe", "message"), REFUSED)
def test_recipes_that_are_refused(recipe, message):
    assert refusal(qat.prepare, nn.Linear(64, 8), torch.ones(2, 64), recipe) == message


@pytest.mark.parametrize(
    ("weights", "key"), [(GROUPS, "granularity: group"), (CHANNEL_ZERO, "symmetric: false")]
)
def test_codes_that_freeze_are_refused(weights, key):
    recipe = {"weights": weights, "oscillation": {"freeze": 0.1}}
    assert refusal(qat.prepare, nn.Linear(64, 8), torch.ones(2, 64), recipe) == (
        f"recipe.weights.{key} cannot go with recipe.oscillation.freeze: a frozen code may lie "
        "between the codes of its group or channel; set oscillation.freeze: 0"
    )


@pytest.mark.parametrize("weights", [GROUPS, AFFINE, CHANNEL_ZERO])
def test_adaround_refuses_them(weights):
    x = torch.randn(2, 64)
    qmodel = calibrated(nn.Sequential(nn.Linear(64, 8)), x, {"weights": weights})
    assert refusal(qat.adaround, qmodel, [x]) == (
        "adaround: '0': weights in groups or with zero points: what the weight recipe measures "
        "does not give back the codes that adaround writes; set granularity: channel or tensor, "
        "and symmetric: true"
    )
