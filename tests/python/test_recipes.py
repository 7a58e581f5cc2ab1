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
