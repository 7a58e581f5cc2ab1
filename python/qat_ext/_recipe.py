"""The three spellings of a recipe, brought to the JSON that the engine reads."""

import json
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from qat_ext import _C

#: A name ("int8"), the path of a YAML file, or a mapping of the keys that differ from the default.
Recipe: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml", ".json"))


def recipe_json(recipe: Recipe) -> str:
    """The recipe as JSON text. Raises :class:`qat_ext.Error` naming the key that is wrong."""
    if isinstance(recipe, Mapping):
        try:
            text = json.dumps(dict(recipe), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise _C.Error(
                f"recipe: expected strings, finite numbers, booleans, lists and dicts; {error}"
            ) from None
        return _C.check_recipe(text)
    if isinstance(recipe, os.PathLike) or (isinstance(recipe, str) and _is_path(recipe)):
        return _C.recipe_file(os.fspath(recipe))
    if isinstance(recipe, str):
        return _C.named_recipe(recipe)
    raise _C.Error(
        f"recipe: expected a name, the path of a YAML file or a dict, got {type(recipe).__name__}"
    )
