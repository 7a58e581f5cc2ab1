"""The named recipes and the files of configs/recipes."""

import json
from pathlib import Path

import pytest
import qat_ext as qat
import torch
from equality import check
from models import SMALL
from qat_ext import _C
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "recipes"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_the_recipe_of_its_name(path):
    try:
        loaded = json.loads(_C.recipe_file(str(path)))
    except qat.Error as error:
        assert "needs the YAML driver" in str(error)
        pytest.skip("built without the YAML driver")
    assert loaded == json.loads(_C.named_recipe(path.stem))
    assert path.read_text().startswith("#"), "a recipe says what it is for"


def test_every_named_recipe_has_a_file():
    with pytest.raises(qat.Error) as error:
        _C.named_recipe("none")
    names = str(error.value).removeprefix("recipe: expected one of ").split(", or a path")[0]
    assert sorted(names.split(", ")) == sorted(path.stem for path in FILES)


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_a_named_recipe_trains_and_ships(name, tmp_path):
    made, example = SMALL["residual"]()
    check(made, example, name, tmp_path)


def test_first_and_last_are_the_ends_of_the_model():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )
    rules = [
        {"sites": "<first>", "weight_bits": 7, "activation_bits": 7},
        {"sites": "<last>", "weight_bits": 6, "activation_bits": 6},
    ]
    recipe = {"weights": {"bits": 3}, "activations": {"bits": 3}, "rules": rules}
    qmodel = qat.prepare(model, torch.randn(2, 3, 8, 8), recipe)
    bits = [line.split()[2:4] for line in qat.plan(qmodel).splitlines()[1:]]
    assert bits == [
        ["a", "u7"], ["w", "s7"], ["a", "u3"], ["w", "s3"], ["a", "u6"], ["w", "s6"],
    ]  # fmt: skip


def test_a_base_is_changed_key_by_key():
    recipe = {"base": "w4a4-lsq", "weights": {"bits": 5}, "rules": []}
    read = json.loads(_C.check_recipe(json.dumps(recipe)))
    named = json.loads(_C.named_recipe("w4a4-lsq"))
    named["weights"]["bits"], named["rules"], named["name"] = 5, [], "w4a4-lsq-changed"
    assert read == named
    assert json.loads(_C.check_recipe(json.dumps(read))) == read


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "w4a4-lsq"},
         "recipe.name: 'w4a4-lsq' names a recipe that these keys differ from; write base: w4a4-lsq"
         " to start from it, or choose another name"),
        ({"base": 4}, "recipe.base: expected a name, got 4"),
        ({"weights": {"bist": 4}}, "recipe.weights: unknown key 'bist'; did you mean 'bits'?"),
        ({"weights": {"colour": 4}},
         "recipe.weights: unknown key 'colour'; known keys: bits, granularity, group, symmetric, "
         "power_of_two, method, rounding, noise"),
    ],
)  # fmt: skip
def test_names_bases_and_keys_that_mean_nothing(recipe, message):
    with pytest.raises(qat.Error) as error:
        _C.check_recipe(json.dumps(recipe))
    assert str(error.value) == message


def test_a_rule_without_a_site_warns():
    rules = [{"sites": "nosuch*", "weight_bits": 4}]
    with pytest.warns(UserWarning, match=r"recipe.rules\[0\].sites: 'nosuch\*' matches no site"):
        qat.prepare(nn.Linear(2, 2), torch.ones(2, 2), {"rules": rules})
